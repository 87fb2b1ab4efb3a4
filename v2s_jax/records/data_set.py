"""Opening a data set on disk and reading its clips by number."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.proto.tf_example_generated_pb2 import Example

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.records.schema import FORMAT_VERSION, ClipRecord, Metadata, record_features
from v2s_jax.records.tfrecord import MEND, RecordIndex, open_index

INFO_FILE = "dataset_info.json"  # TFDS writes it in every folder that holds shards


@dataclass(frozen=True)
class DataSet:
    """One split of a data set: clips by number, each checked as it is read."""

    name: str
    split: str
    directory: epath.Path
    metadata: Metadata
    index: RecordIndex

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(self.metadata["categories"])

    @property
    def clock(self) -> Clock:
        """The clock that the clips were made with."""
        return Clock(self.metadata["sample_rate_hz"], self.metadata["samples_per_video_frame"])

    def __len__(self) -> int:
        return len(self.index.offset)

    def __getitem__(self, clip: int) -> ClipRecord:
        """Read one clip.

        Raises IndexError outside 0 to len - 1, and InputError for a damaged record or one whose
        sizes contradict the metadata.
        """
        if not 0 <= clip < len(self):
            raise IndexError(f"clip {clip} of {len(self)} in {self.name}, split {self.split}")
        features = Example.FromString(self.index.read(clip)).features.feature

        def value(name: str) -> bytes:
            return features[name].bytes_list.value[0]

        clip_id = value("clip_id").decode()
        where = f"{self.directory}, split {self.split}: clip {clip_id}"
        waveform = np.frombuffer(value("waveform"), "<i2")
        video_frames = self._video_frames(waveform.size, where)
        return ClipRecord(
            clip_id=clip_id,
            category=value("category").decode(),
            waveform=waveform,
            appearance=_rows(
                value("appearance"), video_frames, self.metadata["appearance_dim"], where
            ),
            motion=_rows(value("motion"), video_frames, self.metadata["motion_dim"], where),
        )

    def __iter__(self) -> Iterator[ClipRecord]:
        return (self[clip] for clip in range(len(self)))

    def _video_frames(self, samples: int, where: str) -> int:
        if not 1 <= samples <= self.metadata["samples_max"]:
            raise InputError(
                f"{where} has {samples} samples, the metadata says 1 to "
                f"{self.metadata['samples_max']}: make the data set again"
            )
        return self.clock.video_frames(samples)


def _rows(data: bytes, video_frames: int, width: int, where: str) -> np.ndarray:
    """Return float16 bytes as one row for each video frame."""
    values = np.frombuffer(data, "<f2")
    if values.size != video_frames * width:
        raise InputError(
            f"{where} holds {values.size} feature values, but its {video_frames} video frames of "
            f"{width} values need {video_frames * width}: make the data set again"
        )
    return values.reshape(video_frames, width)


def open_data_set(directory: str | os.PathLike[str], split: str) -> DataSet:
    """Open one split of the data set in `directory`.

    `directory` is the TFDS folder itself (NAME/VERSION), or a folder above it that holds no other
    data set. Opening finds every record, so a missing shard or one cut short is reported here.

    Raises InputError when there is no data set, no such split, no clip in it, or damage.
    """
    folder = epath.Path(directory)
    try:
        folder = _find(folder)
        builder = tfds.builder_from_directory(folder)
        metadata = dict(builder.info.metadata or {})
        features = builder.info.features.to_json()
    except InputError:
        raise
    except Exception as error:  # TFDS and remote stores have a type for each way of failing
        raise InputError(
            f"{folder}: its description cannot be read ({_one_line(error)}): {MEND}"
        ) from error
    checked = _check_metadata(folder, metadata)
    expected = record_features(checked["appearance_dim"], checked["motion_dim"])
    if features != expected.to_json():
        raise InputError(f"{folder / 'features.json'}: not the features of a clip: {MEND}")
    if split not in builder.info.splits:
        there = ", ".join(builder.info.splits)
        raise InputError(f"{folder}: no split {split!r}: choose from {there}")
    info = builder.info.splits[split]
    if not info.num_examples:
        raise InputError(f"{folder}: split {split!r} holds no clips: make the data set again")
    index = open_index(info.filepaths, folder / f"{builder.name}-{split}.index.npy")
    counts = np.bincount(index.shard, minlength=info.num_shards)
    for path, found, wanted in zip(info.filepaths, counts, info.shard_lengths, strict=True):
        if found != wanted:
            raise InputError(f"{path}: holds {found} records instead of {wanted}: {MEND}")
    return DataSet(builder.name, split, folder, checked, index)


def _find(directory: epath.Path) -> epath.Path:
    """Return the one TFDS folder at `directory` or at most two folders below."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: not a folder: give the folder that holds the data set")
    found: list[epath.Path] = []
    level = [directory]
    for _ in range(3):
        found += [folder for folder in level if (folder / INFO_FILE).exists()]
        if found:
            break
        level = [below for folder in level for below in _folders(folder)]
    if not found:
        raise InputError(
            f"{directory}: no data set there: make one with "
            f"`python -m data.prepare synthetic --out {directory}`"
        )
    if len(found) > 1:
        names = ", ".join(sorted(str(folder) for folder in found))
        raise InputError(f"{directory}: several data sets there: choose one of {names}")
    return found[0]


def _folders(directory: epath.Path) -> list[epath.Path]:
    """List the folders inside, without the hidden ones, where unfinished work lies."""
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if path.is_dir() and path.name[0] != "."]


def _check_metadata(folder: epath.Path, metadata: dict[str, object]) -> Metadata:
    path = folder / "metadata.json"
    missing = [key for key in Metadata.__annotations__ if key not in metadata]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}: {MEND}")
    if metadata["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path}: format {metadata['format_version']}, this program reads format "
            f"{FORMAT_VERSION}: make the data set again (python -m data.prepare, --overwrite)"
        )
    return cast(Metadata, metadata)


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
