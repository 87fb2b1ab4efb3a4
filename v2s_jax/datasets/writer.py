"""Write a dataset as a TFDS folder of TFRecord shards. The only file that imports TensorFlow."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from v2s_jax.datasets import ClipRecord, Metadata, open_dataset, record_features
from v2s_jax.errors import InputError, first_line, write_error
from v2s_jax.io import atomic_directory

CLIPS_PER_SHARD = 64
"""38 MB for clips of 2 s, 180 MB for clips of 10 s: TFDS advises 100 to 200 MB."""


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
    tensorflow = import_tensorflow()
    try:
        with atomic_directory(folder) as temporary:
            identity = tfds.core.DatasetIdentity(
                name=folder.parent.name,
                version=tfds.core.Version(folder.name),
                data_dir=os.fspath(temporary),
                module_name="v2s_jax.cli.prepare",
            )
            info = tfds.core.DatasetInfo(
                builder=identity,
                description=f"Clips with {metadata['extractor']} features, for v2s_jax.",
                features=record_features(metadata["appearance_dim"], metadata["motion_dim"]),
                metadata=tfds.core.MetadataDict(),
            )
            writer = tfds.core.SequentialWriter(info, max_examples_per_shard=clips_per_shard)
            writer.initialize_splits(list(splits))
            samples_max = 0
            for split, record in records:
                writer.add_examples({split: [record._asdict()]})
                samples_max = max(samples_max, record.waveform.size)
            # Metadata come last: a folder without them cannot be opened.
            info.metadata.update({**metadata, "samples_max": samples_max})
            writer.close_all()
            for split in splits:
                open_dataset(temporary, split)
    except (OSError, tensorflow.errors.OpError) as error:
        raise write_error(folder, first_line(error)) from error


def dataset_exists_error(folder: Path | epath.Path) -> InputError:
    """Return the error for a dataset that must not be replaced."""
    return InputError(f"{folder}: already exists: use --overwrite to replace it")


def import_tensorflow() -> Any:
    """Import TensorFlow without its log messages, and hide the accelerators from it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its notice ignores the log level
    import tensorflow

    tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.config.set_visible_devices([], "TPU")
    return tensorflow
