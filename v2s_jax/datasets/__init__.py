"""Records: the schema of a clip on disk, and reading a data set as batches.

In: a TFDS folder (TFRecord shards, features.json, dataset_info.json, metadata.json), or clips made
in memory by who implements `Clips`.
Out: NumPy arrays, one `ClipRecord` at a time or as `Batch`. Reading never imports TensorFlow;
writing lives in `v2s_jax/datasets/writer.py`.
"""

from v2s_jax.datasets.batches import (
    batches,
    check_fits,
    held_out_batches,
    padded_size,
    select_model_features,
    shuffled_indices,
)
from v2s_jax.datasets.clip_source import ClipSource
from v2s_jax.datasets.dataset import ClipDataset, CorruptPolicy, open_dataset
from v2s_jax.datasets.schema import (
    ClipRecord,
    Metadata,
    record_features,
    waveform_from_int16,
    waveform_to_int16,
)
from v2s_jax.datasets.statistics import feature_statistics

__all__ = [
    "ClipDataset",
    "ClipRecord",
    "ClipSource",
    "CorruptPolicy",
    "Metadata",
    "batches",
    "check_fits",
    "feature_statistics",
    "held_out_batches",
    "open_dataset",
    "padded_size",
    "record_features",
    "select_model_features",
    "shuffled_indices",
    "waveform_from_int16",
    "waveform_to_int16",
]
