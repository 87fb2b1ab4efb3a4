"""Writing a data set: records in, a TFDS folder of TFRecord shards out.

The only file that imports TensorFlow, which writes the records for TFDS.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from v2s_jax.datasets import ClipRecord, Metadata, open_dataset, record_features
from v2s_jax.errors import InputError
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
    """Write the records, each given with its split, as the TFDS folder `folder` (NAME/VERSION).

    `samples_max` of the metadata is counted here, whatever it says. The folder appears when it is
    whole and has been opened once, which leaves the index of records beside the shards.

    Raises InputError when the folder is there and not to be overwritten, when it cannot be
    written, and when a split gets no clip.
    """
    if folder.exists() and not overwrite:
        raise InputError(f"{folder}: there already: use --overwrite to replace it")
    tensorflow = import_tensorflow()
    try:
        with atomic_directory(folder) as temporary:
            info = _describe(folder, temporary, metadata)
            writer = tfds.core.SequentialWriter(info, max_examples_per_shard=clips_per_shard)
            writer.initialize_splits(list(splits))
            samples_max = 0
            for split, record in records:
                writer.add_examples({split: [record._asdict()]})
                samples_max = max(samples_max, record.waveform.size)
            # Without its metadata a folder does not open: they come last.
            info.metadata.update({**metadata, "samples_max": samples_max})
            writer.close_all()
            for split in splits:
                open_dataset(temporary, split)
    except (OSError, tensorflow.errors.OpError) as error:
        raise InputError(
            f"{folder}: cannot be written ({str(error).splitlines()[0]}): free space or choose "
            "another folder"
        ) from error


def import_tensorflow() -> Any:
    """Import TensorFlow quietly, with the accelerators left to JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its notice ignores the level above
    import tensorflow

    tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.config.set_visible_devices([], "TPU")
    return tensorflow


def _describe(folder: Path, temporary: Path, metadata: Metadata) -> tfds.core.DatasetInfo:
    name, version = folder.parent.name, folder.name
    identity = tfds.core.DatasetIdentity(
        name=name,
        version=tfds.core.Version(version),
        data_dir=os.fspath(temporary),
        module_name="v2s_jax.cli.prepare",
    )
    return tfds.core.DatasetInfo(
        builder=identity,
        description=f"Clips with {metadata['extractor']} features, for v2s_jax.",
        features=record_features(metadata["appearance_dim"], metadata["motion_dim"]),
        metadata=tfds.core.MetadataDict(),
    )
