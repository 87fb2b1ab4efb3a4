"""Open a dataset on disk and read its clips by number."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.message import DecodeError
from jaxtyping import Float16, Int64
from tensorflow_datasets.proto.tf_example_generated_pb2 import Example
from tqdm import tqdm

from v2s_jax.bucket import check_url, url_of
from v2s_jax.datasets.metadata import check_metadata, check_samples_max
from v2s_jax.datasets.schema import (
    ClipRecord,
    ClipSource,
    Metadata,
    record_features,
)
from v2s_jax.datasets.tfrecord import (
    FIX_HINT,
    NO_LABEL,
    REBUILD_HINT,
    RecordIndex,
    drop_corrupt_records,
    open_index,
    with_labels,
)
from v2s_jax.errors import InputError, reason, unknown_name_error

os.environ.setdefault("EPATH_USE_TF", "0")  # epath: remote files through fsspec, not TensorFlow

CorruptPolicy = Literal["stop", "drop"]
"""For corrupt records: stop with an error, or drop the rest of the shard."""

IN_MEMORY = "synthetic:"
"""Prefix of --data for clips that `v2s train` renders in memory."""

INFO_FILE = "dataset_info.json"  # TFDS writes it into every folder of shards


@dataclass(frozen=True)
class ClipDataset(ClipSource):
    """One split of a dataset on disk. Each clip is checked when it is read."""

    name: str
    split: str
    location: str
    metadata: Metadata
    index: RecordIndex
    index_file: epath.Path | None
    """Cache of the index; None when corrupt records were dropped."""
    dropped: int = 0
    """Number of records dropped as corrupt."""

    @property
    def directory(self) -> epath.Path:
        """The folder."""
        return epath.Path(self.location)

    @property
    def fingerprint(self) -> str:
        """One line that identifies the data: its clips and their positions on disk."""
        positions = np.stack([self.index.shard, self.index.offset, self.index.length])
        crc = zlib.crc32(positions.tobytes())
        return f"{self.name}, split {self.split}, {len(self)} clips, {crc:08x}"

    def of_category(self, category: str) -> "ClipDataset":
        """Return only the clips of one category.

        The first call reads all records and stores their categories in the index.

        Raises InputError if the category is unknown or has no clips in this split.
        """
        if category not in self.categories:
            raise unknown_name_error(
                "category", category, self.categories, f"{self.directory} holds"
            )
        index = self._labelled_index()
        narrowed = index.select(index.label == _label(category))
        if not narrowed.offset.size:
            raise InputError(
                f"{self.directory}: no clips of {category} in split {self.split}: choose another "
                "category, or build a dataset that has it"
            )
        return replace(self, index=narrowed)

    def has_category(self, category: str) -> bool:
        """Say whether this split has clips of a category of the dataset."""
        return bool((self._labelled_index().label == _label(category)).any())

    def _labelled_index(self) -> RecordIndex:
        index = self.index
        if (index.label == NO_LABEL).any():
            index = with_labels(index, self._read_categories(), self.index_file)
        return index

    def take(self, clips: Sequence[int]) -> "ClipDataset":
        """Return only these clips, in this order."""
        index = self.index.select(np.asarray(clips, np.int64))
        return replace(self, index=index, index_file=None)

    def clip_categories(self, clips: Sequence[int]) -> Iterator[str]:
        """Yield the category of each of these clips, which are read for it."""
        return (self[clip].category for clip in clips)

    def _read_categories(self) -> Int64[np.ndarray, " clips"]:
        """Read the label of every clip: its category as a number."""
        clips = tqdm(self, total=len(self), desc="reading categories", unit="clip")
        return np.array([_label(record.category) for record in clips], np.int64)

    def __len__(self) -> int:
        return len(self.index.offset)

    def __getitem__(self, clip: int) -> ClipRecord:
        """Read one clip.

        Raises IndexError outside 0 to len - 1, and InputError if the record is corrupt, is not a
        clip, or contradicts the metadata.
        """
        if not 0 <= clip < len(self):
            raise IndexError(f"clip {clip} of {len(self)} in {self.name}, split {self.split}")
        location = self.index.record_location(clip)
        try:
            record = self._parse(self.index.read(clip))
        except (DecodeError, IndexError, ValueError) as error:
            raise InputError(
                f"{location} does not hold a clip of this dataset ({reason(error)}): {FIX_HINT}"
            ) from error
        if record.category not in self.categories:
            raise InputError(
                f"{location}: category {record.category!r} is not in the metadata: {REBUILD_HINT}"
            )
        return record

    def _parse(self, data: bytes) -> ClipRecord:
        """Return the clip of a record; raise one of several errors if there is none."""
        features = Example.FromString(data).features.feature
        values = {name: features[name].bytes_list.value[0] for name in ClipRecord._fields}
        waveform = np.frombuffer(values["waveform"], "<i2")
        video_frames = self.clock.video_frames(waveform.size)
        if not 1 <= waveform.size <= self.metadata["samples_max"]:
            raise ValueError(f"{waveform.size} samples, not 1 to {self.metadata['samples_max']}")

        def rows(name: str, width: int) -> Float16[np.ndarray, "video_frames width"]:
            return np.frombuffer(values[name], "<f2").reshape(video_frames, width)

        return ClipRecord(
            clip_id=values["clip_id"].decode(),
            category=values["category"].decode(),
            waveform=waveform,
            appearance=rows("appearance", self.metadata["appearance_dim"]),
            motion=rows("motion", self.metadata["motion_dim"]),
        )

    def __iter__(self) -> Iterator[ClipRecord]:
        return self.read(range(len(self)))

    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order; each is read on demand."""
        return (self[clip] for clip in clips)


def _label(category: str) -> int:
    """Return a category's number in the index; it does not depend on the other categories."""
    return zlib.crc32(category.encode())


def open_dataset(
    directory: str | os.PathLike[str], split: str, *, corrupt: CorruptPolicy = "stop"
) -> ClipDataset:
    """Open one split of a dataset on disk, or in a bucket.

    Opening finds every record, so a missing or truncated shard is reported here. The bytes of a
    record are checked when it is read; with `corrupt="drop"` all are checked here.

    Args:
        directory: the TFDS folder itself (NAME/VERSION), or a folder above it that holds no other
            dataset: a local path, or a gs:// or s3:// URL.
        split: such as "train" or "test".
        corrupt: "stop" raises an error at a corrupt record; "drop" leaves out the rest of a shard
            from its first corrupt record on.

    Returns:
        The split.

    Raises:
        InputError: when there is no dataset, split or clip, or a shard is corrupt.
    """
    if url := url_of(directory):
        check_url(url)
    folder, described = _read_description(epath.Path(url or directory))
    checked = check_metadata(folder, described.metadata)
    expected = record_features(checked["appearance_dim"], checked["motion_dim"])
    if described.features != expected.to_json():
        raise InputError(f"{folder / 'features.json'}: not the features of a clip: {FIX_HINT}")
    if split not in described.splits:
        choices = ", ".join(described.splits)
        raise InputError(f"{folder}: no split {split!r}: choose from {choices}")
    shards, lengths = described.splits[split]
    if not sum(lengths):
        raise InputError(f"{folder}: split {split!r} has no clips: {REBUILD_HINT}")
    index_file = folder / f"{described.name}-{split}.index.npy"
    drop = corrupt == "drop"
    index = open_index(shards, lengths, index_file, stop_at_corruption=drop)
    all_shards = [path for paths, _ in described.splits.values() for path in paths]
    check_samples_max(folder, checked, all_shards)
    counts = np.bincount(index.shard, minlength=len(shards))
    for path, count, expected in zip(shards, counts, lengths, strict=True):
        if count > expected or (count < expected and not drop):
            raise InputError(f"{path}: holds {count} records instead of {expected}: {FIX_HINT}")
    dropped = 0
    if drop:
        index, dropped = drop_corrupt_records(index, lengths)
        if not index.offset.size:
            raise InputError(f"{folder}: split {split!r}: every shard is corrupt: {FIX_HINT}")
    cache = None if dropped else index_file
    return ClipDataset(described.name, split, str(folder), checked, index, cache, dropped)


class _Description(NamedTuple):
    """What the JSON files of a dataset say."""

    name: str
    metadata: dict[str, Any]
    features: Any
    splits: dict[str, tuple[list[epath.Path], list[int]]]
    """Paths of the shards and their numbers of records."""


def _read_description(directory: epath.Path) -> tuple[epath.Path, _Description]:
    """Return the folder of the dataset at `directory`, and what its files say."""
    folder = directory
    try:
        folder = _find(folder)
        builder = tfds.builder_from_directory(folder)
        splits = {}
        for name, info in builder.info.splits.items():
            paths, lengths = list(info.filepaths), list(info.shard_lengths)
            if any(path.parent != folder for path in paths) or min(lengths, default=0) < 0:
                raise ValueError(f"split {name} has files elsewhere, or fewer than 0 records")
            splits[name] = paths, lengths
        metadata = dict(builder.info.metadata or {})
        return folder, _Description(builder.name, metadata, builder.info.features.to_json(), splits)
    except InputError:
        raise
    except Exception as error:  # TFDS and each remote store have their own exception types
        raise InputError(
            f"{folder}: its description cannot be read ({reason(error)}): {FIX_HINT}"
        ) from error


def _find(directory: epath.Path) -> epath.Path:
    """Return the only TFDS folder at `directory` or at most two levels below."""
    if str(directory).startswith(IN_MEMORY) and not directory.exists():
        raise _in_memory_error(str(directory).removeprefix(IN_MEMORY))
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: not a folder: give the folder of the dataset")
    level = [directory]
    for _ in range(3):
        matches = [folder for folder in level if (folder / INFO_FILE).exists()]
        if matches:
            break
        children = [child for folder in level if folder.is_dir() for child in folder.iterdir()]
        # Hidden folders hold unfinished work.
        level = [child for child in children if child.is_dir() and child.name[0] != "."]
    if not matches:
        raise InputError(
            f"{directory}: no dataset found: check --data, or build one with `v2s prepare folder` "
            f"from your videos or `v2s prepare synthetic --out {directory}`"
        )
    if len(matches) > 1:
        names = ", ".join(sorted(str(folder) for folder in matches))
        raise InputError(f"{directory}: several datasets found: choose one of {names}")
    return matches[0]


def _in_memory_error(spec: str) -> InputError:
    """Return the error for PRESET[,seed=N][,probe=NAME][,CATEGORY=N] where files are needed."""
    preset, *settings = spec.split(",")
    options = " --".join([f"preset {preset}", *(each.replace("=", " ") for each in settings)])
    return InputError(
        f"--data {IN_MEMORY}{spec}: only `v2s train` renders clips in memory: write files with "
        f"`v2s prepare synthetic --{options} --out FOLDER` and use --data FOLDER"
    )
