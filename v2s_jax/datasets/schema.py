"""What one record holds, and what a data set says about all of them: declared here only.

The writer encodes with `record_features`; the reader compares a folder's features.json with it.
"""

from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float16, Float32, Int16

FORMAT_VERSION = 1
"""Version of the metadata; raised whenever an old data set could be read wrongly."""

INT16_SCALE = 32_768
"""int16 steps per unit of amplitude, as ffmpeg's s16 format has it."""


class ClipRecord(NamedTuple):
    """One clip as it lies on disk.

    `appearance` and `motion` have one row for each video frame that the waveform touches.
    """

    clip_id: str
    category: str
    waveform: Int16[np.ndarray, " samples"]
    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]


class Metadata(TypedDict):
    """What holds for every clip of a data set, in all its splits; kept in metadata.json."""

    format_version: int
    extractor: str
    """Name of what made the features."""
    extraction: NotRequired[dict[str, Any]]
    """How it made them: the fields of `v2s_jax.config.Extraction`. Data sets from before there was
    a choice have none."""
    appearance_dim: int
    motion_dim: int
    sample_rate_hz: int
    samples_per_video_frame: int
    samples_max: int
    """Samples of the longest clip of all splits."""
    categories: list[str]
    """Sorted names of the categories."""
    floor_bits: NotRequired[dict[str, float]]
    """For clips whose cause is known: a lower bound, on average, of what the levels of each clip
    cost, by its name. It holds for `floor_levels` and no others."""
    floor_levels: NotRequired[dict[str, Any]]
    """Which levels those are: `q_levels` and `quantization`; 256 linear where it is not said."""
    made_by: dict[str, Any]
    """How the clips came to be: data set, preset, seed, versions."""


def record_features(appearance_dim: int, motion_dim: int) -> tfds.features.FeaturesDict:
    """Return the schema of one record.

    Arrays are stored as raw little-endian bytes; without that, TFDS would store each float16 as
    a 4-byte float and each int16 as a varint.
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


def waveform_to_int16(
    waveform: Float32[np.ndarray, " samples"],
) -> Int16[np.ndarray, " samples"]:
    """Round amplitudes to int16; +1.0 becomes 32767, the largest there is."""
    steps = np.rint(waveform.astype(np.float64) * INT16_SCALE)
    return np.clip(steps, -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def waveform_from_int16(
    waveform: Int16[np.ndarray, " samples"],
) -> Float32[np.ndarray, " samples"]:
    """Return amplitudes in [-1, 1); exact."""
    return waveform.astype(np.float32) / np.float32(INT16_SCALE)
