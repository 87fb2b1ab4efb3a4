"""Write a dataset as a TFDS folder of TFRecord shards, without TensorFlow.

A folder NAME/VERSION has NAME-SPLIT.tfrecord-00000-of-00003 and so on, and the JSON files by which
`tfds.load` and this package open it.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from v2s_jax.datasets.dataset import open_dataset
from v2s_jax.datasets.schema import ClipRecord, Metadata, record_features
from v2s_jax.datasets.tfrecord import frame_record
from v2s_jax.errors import InputError, first_line, write_error
from v2s_jax.io import atomic_directory

CLIPS_PER_SHARD = 64
"""38 MB for clips of 2 s, 180 MB for clips of 10 s: TFDS advises 100 to 200 MB."""
FILE_FORMAT = "tfrecord"


class ShardWriter:
    """Writes records to one file. Use it in a `with` block."""

    def __init__(self, path: epath.Path, features: tfds.features.FeaturesDict) -> None:
        self.path = path
        self.records = 0
        self._features = features
        self._serializer = ExampleSerializer(features.get_serialized_info())
        self._file: BinaryIO = path.open("wb")

    def write(self, record: ClipRecord) -> None:
        """Append a record."""
        example = self._features.encode_example(record._asdict())
        self._file.write(frame_record(self._serializer.serialize_example(example)))
        self.records += 1

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def write_dataset(
    folder: Path,
    metadata: Metadata,
    splits: Sequence[str],
    records: Iterable[tuple[str, ClipRecord]],
    overwrite: bool = False,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> None:
    """Write records, each with its split, as the TFDS folder `folder` (NAME/VERSION).

    The folder appears atomically, after it has been opened once, which writes the record index.
    `samples_max` of the metadata is computed here.

    Raises InputError if the folder exists and `overwrite` is false, if it cannot be written, or if
    a split gets no clip.
    """
    if folder.exists() and not overwrite:
        raise dataset_exists_error(folder)
    features = dataset_features(metadata)
    try:
        with atomic_directory(folder) as temporary:
            shards: dict[str, list[ShardWriter]] = {split: [] for split in splits}
            samples_max = 0
            with ExitStack() as files:
                for split, record in records:
                    of_split = shards[split]
                    if not of_split or of_split[-1].records == clips_per_shard:
                        path = epath.Path(temporary) / f"{split}-{len(of_split)}"
                        of_split.append(files.enter_context(ShardWriter(path, features)))
                    of_split[-1].write(record)
                    samples_max = max(samples_max, record.waveform.size)
            for split, of_split in shards.items():
                for number, shard in enumerate(of_split):
                    name = shard_name(folder.parent.name, split, number, len(of_split))
                    shard.path.rename(shard.path.with_name(name))
            write_info(
                epath.Path(temporary),
                (folder.parent.name, folder.name),
                {**metadata, "samples_max": samples_max},
                {
                    split: [shard.records for shard in of_split]
                    for split, of_split in shards.items()
                },
            )
            for split in splits:
                open_dataset(temporary, split)
    except OSError as error:
        raise write_error(folder, first_line(error)) from error


def dataset_features(metadata: Metadata) -> tfds.features.FeaturesDict:
    """Return the TFDS schema of a dataset's records."""
    return record_features(metadata["appearance_dim"], metadata["motion_dim"])


def shard_name(name: str, split: str, number: int, shards: int) -> str:
    """Return the file name of a shard, as TFDS has it."""
    return f"{name}-{split}.{FILE_FORMAT}-{number:05d}-of-{shards:05d}"


def write_info(
    folder: epath.Path,
    name_and_version: tuple[str, str],
    metadata: Metadata,
    records_by_shard: Mapping[str, Sequence[int]],
) -> None:
    """Write the JSON files of a dataset whose shards are complete; without them it is none.

    Args:
        folder: Where the shards are.
        name_and_version: Of the dataset.
        metadata: Properties of all clips.
        records_by_shard: Number of records in each shard of each split.
    """
    name, version = name_and_version
    identity = tfds.core.DatasetIdentity(
        name=name,
        version=tfds.core.Version(version),
        data_dir=str(folder),
        module_name="v2s_jax.cli.prepare",
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"Clips with {metadata['extractor']} features, for v2s_jax.",
        features=dataset_features(metadata),
        metadata=tfds.core.MetadataDict(metadata),
    )
    info.set_splits(
        tfds.core.splits.SplitDict(
            [
                _split_info(folder, name, split, list(records))
                for split, records in records_by_shard.items()
            ]
        )
    )
    info.write_to_directory(folder)


def _split_info(
    folder: epath.Path, name: str, split: str, records: list[int]
) -> tfds.core.SplitInfo:
    paths = [folder / shard_name(name, split, n, len(records)) for n in range(len(records))]
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=name, split=split, filetype_suffix=FILE_FORMAT
    )
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=records,
        num_bytes=sum(path.stat().length for path in paths),
        filename_template=template,
    )


def dataset_exists_error(folder: Path | epath.Path) -> InputError:
    """Return the error for a dataset that must not be replaced."""
    return InputError(f"{folder}: already exists: use --overwrite to replace it")
