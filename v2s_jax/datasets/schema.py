"""The format of a dataset: one record, its metadata, and the interface that training reads.

The writer encodes with `record_features`; the reader compares features.json with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float16, Int16

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.config.validation import from_fields

FORMAT_VERSION = 1
"""Version of the metadata. Raise it when an old dataset could be misread."""


class ClipRecord(NamedTuple):
    """One clip as stored on disk.

    `appearance` and `motion` have one row for each video frame that the waveform touches.
    """

    clip_id: str
    category: str
    waveform: Int16[np.ndarray, " samples"]
    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]


class Metadata(TypedDict):
    """Properties shared by all clips of a dataset, in every split; stored in metadata.json."""

    format_version: int
    extractor: str
    """Name of the feature extractor."""
    extraction: NotRequired[dict[str, Any]]
    """Its settings: the fields of `v2s_jax.config.ExtractorConfig`. The oldest datasets lack it."""
    appearance_dim: int
    motion_dim: int
    sample_rate_hz: int
    samples_per_video_frame: int
    samples_max: int
    """Samples of the longest clip of all splits."""
    categories: list[str]
    """Sorted category names."""
    floor_bits: NotRequired[dict[str, float]]
    """Synthetic clips only: a lower bound of the average cost of each clip in bits, by clip id. It
    holds for `floor_levels` only."""
    floor_levels: NotRequired[dict[str, Any]]
    """The levels of that bound: `q_levels` and `quantization`; 256 linear if absent."""
    made_by: dict[str, Any]
    """Provenance: dataset, preset, seed, versions."""


class ClipSource(ABC):
    """One split of a dataset: shards on disk (`ClipDataset`) or clips rendered on demand.

    Clip n is the same whenever it is read, in every process.
    """

    location: str
    """Folder or name, for messages."""
    metadata: Metadata

    @property
    def categories(self) -> tuple[str, ...]:
        """Sorted category names."""
        return tuple(self.metadata["categories"])

    @property
    def clock(self) -> Clock:
        """The clock of the clips."""
        return Clock(self.metadata["sample_rate_hz"], self.metadata["samples_per_video_frame"])

    @property
    def extraction(self) -> ExtractorConfig:
        """Settings of the feature extractor."""
        return from_fields(ExtractorConfig, self.metadata.get("extraction", {}), "extraction")

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """One line that identifies the data."""

    @abstractmethod
    def of_category(self, category: str) -> "ClipSource":
        """Return only the clips of one category.

        Raises InputError if the category is unknown or has no clips in this split.
        """

    @abstractmethod
    def take(self, clips: Sequence[int]) -> "ClipSource":
        """Return only these clips, in this order."""

    @abstractmethod
    def clip_categories(self, clips: Sequence[int]) -> Iterator[str]:
        """Yield the category of each of these clips."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of clips."""

    @abstractmethod
    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order. Safe to call from several threads.

        Raises InputError if a clip cannot be read.
        """


def record_features(appearance_dim: int, motion_dim: int) -> tfds.features.FeaturesDict:
    """Return the TFDS schema of one record.

    Arrays are raw little-endian bytes; by default TFDS would store each float16 as a 4-byte float
    and each int16 as a varint.
    """

    def raw(shape: tuple[int | None, ...], dtype: type) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    return tfds.features.FeaturesDict(
        {
            "clip_id": tfds.features.Text(),
            "category": tfds.features.Text(),
            "waveform": raw((None,), np.int16),
            "appearance": raw((None, appearance_dim), np.float16),
            "motion": raw((None, motion_dim), np.float16),
        }
    )
