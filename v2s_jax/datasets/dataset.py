"""Opening a data set on disk and reading its clips by number."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.message import DecodeError
from jaxtyping import Float16, Int64
from tensorflow_datasets.proto.tf_example_generated_pb2 import Example
from tqdm import tqdm

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.datasets.corruption import drop_corrupt_records
from v2s_jax.datasets.schema import FORMAT_VERSION, ClipRecord, Metadata, record_features
from v2s_jax.datasets.tfrecord import (
    FIX_HINT,
    NO_LABEL,
    REBUILD_HINT,
    RecordIndex,
    open_index,
    reason,
    with_labels,
)
from v2s_jax.errors import InputError, unknown_name_error

os.environ.setdefault("EPATH_USE_TF", "0")  # epath: remote files through fsspec, not TensorFlow

CorruptPolicy = Literal["stop", "drop"]
"""What to do about damaged records: stop there, or leave each shard out from the first one on."""

IN_MEMORY = "synthetic:"
"""What --data begins with for clips that train.py makes in memory."""

INFO_FILE = "dataset_info.json"  # TFDS writes it in every folder that holds shards


@dataclass(frozen=True)
class ClipDataset:
    """One split of a data set: clips by number, each checked as it is read."""

    name: str
    split: str
    directory: epath.Path
    metadata: Metadata
    index: RecordIndex
    index_file: epath.Path | None
    """Where the index is kept; None: nowhere, since it lacks damaged records."""
    dropped: int = 0
    """Records that were left out because of damage."""

    @property
    def location(self) -> str:
        """The folder, for messages."""
        return str(self.directory)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(self.metadata["categories"])

    @property
    def clock(self) -> Clock:
        """The clock that the clips were made with."""
        return Clock(self.metadata["sample_rate_hz"], self.metadata["samples_per_video_frame"])

    @property
    def extraction(self) -> ExtractorConfig:
        """How the features were made."""
        return _extraction(self.directory, self.metadata)

    @property
    def fingerprint(self) -> str:
        """What tells this data from other data, in one line: its clips and how they lie on disk."""
        places = np.stack([self.index.shard, self.index.offset, self.index.length])
        crc = zlib.crc32(places.tobytes())
        return f"{self.name}, split {self.split}, {len(self)} clips, {crc:08x}"

    def of_category(self, category: str) -> "ClipDataset":
        """Return the clips of one category alone.

        The first time all records are read to find them; what they are is kept with the index.
        Raises InputError for a category that is unknown, or that the split has no clips of.
        """
        if category not in self.categories:
            raise unknown_name_error(
                "category", category, self.categories, f"{self.directory} holds"
            )
        index = self.index
        if (index.label == NO_LABEL).any():
            index = with_labels(index, self._read_categories(), self.index_file)
        narrowed = index.of_label(_label(category))
        if not narrowed.offset.size:
            raise InputError(
                f"{self.directory}: no clips of {category} in split {self.split}: choose another "
                "category, or make the data set again with it"
            )
        return replace(self, index=narrowed)

    def _read_categories(self) -> Int64[np.ndarray, " clips"]:
        """Read every clip's category, as the index keeps it."""
        found = np.empty(len(self), np.int64)
        for clip in tqdm(range(len(self)), desc="reading categories", unit="clip"):
            place = self.index.place(clip)
            category = _text(_values(self.index.read(clip), place), "category", place)
            if category not in self.categories:
                raise InputError(
                    f"{place}: category {category!r} is not in the metadata: make the data set "
                    "again"
                )
            found[clip] = _label(category)
        return found

    def __len__(self) -> int:
        return len(self.index.offset)

    def __getitem__(self, clip: int) -> ClipRecord:
        """Read one clip.

        Raises IndexError outside 0 to len - 1, and InputError for a damaged record, one that is
        not a clip, or one whose sizes contradict the metadata.
        """
        if not 0 <= clip < len(self):
            raise IndexError(f"clip {clip} of {len(self)} in {self.name}, split {self.split}")
        place = self.index.place(clip)
        values = _values(self.index.read(clip), place)
        clip_id = _text(values, "clip_id", place)
        waveform = _numbers(values, "waveform", "<i2", place)
        where = f"{place}, clip {clip_id}"
        video_frames = self._video_frames(waveform.size, where)

        def rows(name: str, width: int) -> Float16[np.ndarray, "video_frames width"]:
            return _rows(_numbers(values, name, "<f2", place), video_frames, width, where)

        return ClipRecord(
            clip_id=clip_id,
            category=_text(values, "category", place),
            waveform=waveform,
            appearance=rows("appearance", self.metadata["appearance_dim"]),
            motion=rows("motion", self.metadata["motion_dim"]),
        )

    def __iter__(self) -> Iterator[ClipRecord]:
        return self.read(range(len(self)))

    def read(self, clips: Sequence[int]) -> Iterator[ClipRecord]:
        """Yield clips by number, in this order, each read when it is taken."""
        return (self[clip] for clip in clips)

    def _video_frames(self, samples: int, where: str) -> int:
        if not 1 <= samples <= self.metadata["samples_max"]:
            raise InputError(
                f"{where} has {samples} samples, the metadata says 1 to "
                f"{self.metadata['samples_max']}: make the data set again"
            )
        return self.clock.video_frames(samples)


def _label(category: str) -> int:
    """Return the number that stands for a category in the index, whatever others there are."""
    return zlib.crc32(category.encode())


def _values(data: bytes, place: str) -> dict[str, bytes]:
    """Return the bytes that each feature of a record holds."""
    try:
        features = Example.FromString(data).features.feature
    except DecodeError as error:
        raise InputError(
            f"{place} is not a tf.train.Example ({reason(error)}): {FIX_HINT}"
        ) from error
    values: dict[str, bytes] = {}
    for name in ClipRecord._fields:
        held = features[name].bytes_list.value
        if len(held) != 1:
            raise InputError(
                f"{place} holds {len(held)} byte strings as {name}, a clip has one: {FIX_HINT}"
            )
        values[name] = held[0]
    return values


def _text(values: dict[str, bytes], name: str, place: str) -> str:
    try:
        return values[name].decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: its {name} is not UTF-8 text: {FIX_HINT}") from error


def _numbers(values: dict[str, bytes], name: str, dtype: str, place: str) -> np.ndarray:
    data, width = values[name], np.dtype(dtype).itemsize
    if len(data) % width:
        raise InputError(
            f"{place}: its {name} of {len(data)} bytes is not in whole values of {width} bytes: "
            f"{FIX_HINT}"
        )
    return np.frombuffer(data, dtype)


def _rows(
    values: Float16[np.ndarray, " values"], video_frames: int, width: int, where: str
) -> Float16[np.ndarray, "video_frames width"]:
    """Return feature values as one row for each video frame."""
    if values.size != video_frames * width:
        raise InputError(
            f"{where} holds {values.size} feature values, but its {video_frames} video frames of "
            f"{width} values need {video_frames * width}: make the data set again"
        )
    return values.reshape(video_frames, width)


def open_dataset(
    directory: str | os.PathLike[str], split: str, *, corrupt: CorruptPolicy = "stop"
) -> ClipDataset:
    """Open one split of the data set in `directory`.

    `directory` is the TFDS folder itself (NAME/VERSION), or a folder above it that holds no other
    data set: a local path or a gs:// URL. Give a URL as str, for `pathlib.Path` drops one of its
    slashes. It is read through gcsfs; the tests put a store in memory in its place, so Google's
    own is untested. Opening finds every record, so a missing shard or one cut short is reported
    here. A record's own bytes are checked when it is read; with `damaged` "drop" all are checked
    here, and each shard is left out from its first damaged record on.

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
            f"{folder}: its description cannot be read ({reason(error)}): {FIX_HINT}"
        ) from error
    checked = _check_metadata(folder, metadata)
    expected = record_features(checked["appearance_dim"], checked["motion_dim"])
    if features != expected.to_json():
        raise InputError(f"{folder / 'features.json'}: not the features of a clip: {FIX_HINT}")
    if split not in builder.info.splits:
        there = ", ".join(builder.info.splits)
        raise InputError(f"{folder}: no split {split!r}: choose from {there}")
    info = builder.info.splits[split]
    if not info.num_examples:
        raise InputError(f"{folder}: split {split!r} holds no clips: make the data set again")
    index_file = folder / f"{builder.name}-{split}.index.npy"
    lengths = info.shard_lengths
    drop = corrupt == "drop"
    index = open_index(info.filepaths, lengths, index_file, stop_at_corruption=drop)
    counts = np.bincount(index.shard, minlength=info.num_shards)
    for path, found, wanted in zip(info.filepaths, counts, lengths, strict=True):
        if found > wanted or (found < wanted and not drop):
            raise InputError(f"{path}: holds {found} records instead of {wanted}: {FIX_HINT}")
    dropped = 0
    if drop:
        index, dropped = drop_corrupt_records(index, lengths)
        if not index.offset.size:
            raise InputError(f"{folder}: split {split!r}: every shard is damaged: {FIX_HINT}")
    kept_in = None if dropped else index_file
    return ClipDataset(builder.name, split, folder, checked, index, kept_in, dropped)


def _find(directory: epath.Path) -> epath.Path:
    """Return the one TFDS folder at `directory` or at most two folders below."""
    if str(directory).startswith(IN_MEMORY) and not directory.exists():
        raise _not_a_folder(str(directory).removeprefix(IN_MEMORY))
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
            f"`v2s prepare synthetic --out {directory}`, or of your own videos with "
            f"`v2s prepare folder`, and check --data"
        )
    if len(found) > 1:
        names = ", ".join(sorted(str(folder) for folder in found))
        raise InputError(f"{directory}: several data sets there: choose one of {names}")
    return found[0]


def _not_a_folder(words: str) -> InputError:
    """Return the error about clips that are made in memory, PRESET[,seed=N][,probe=NAME]."""
    preset, *settings = words.split(",")
    options = " --".join([f"preset {preset}", *(each.replace("=", " ") for each in settings)])
    return InputError(
        f"--data {IN_MEMORY}{words}: only train.py makes clips in memory: make files with "
        f"`v2s prepare synthetic --{options} --out FOLDER` and give --data FOLDER"
    )


def _folders(directory: epath.Path) -> list[epath.Path]:
    """List the folders inside, without the hidden ones, where unfinished work lies."""
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if path.is_dir() and path.name[0] != "."]


def _check_metadata(folder: epath.Path, metadata: dict[str, object]) -> Metadata:
    path = folder / "metadata.json"
    wanted = (key for key in Metadata.__annotations__ if key in Metadata.__required_keys__)
    missing = [key for key in wanted if key not in metadata]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}: {FIX_HINT}")
    if metadata["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path}: format {metadata['format_version']}, this program reads format "
            f"{FORMAT_VERSION}: {REBUILD_HINT}"
        )
    checked = cast(Metadata, metadata)
    _extraction(folder, checked)
    return checked


def _extraction(folder: epath.Path, metadata: Metadata) -> ExtractorConfig:
    try:
        return ExtractorConfig(**metadata.get("extraction", {}))
    except (TypeError, InputError) as error:
        raise InputError(
            f"{folder / 'metadata.json'}: its extraction is not known to this version "
            f"({reason(error)}): {FIX_HINT}"
        ) from error
