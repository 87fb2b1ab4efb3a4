"""Datasets: the record format, and reading clips as batches.

A dataset is a TFDS folder (TFRecord shards, features.json, dataset_info.json, metadata.json) or
clips rendered in memory by a `ClipSource`. Reading never imports TensorFlow; `writer.py` does.
"""

from v2s_jax.datasets.batches import (
    batches,
    check_fits,
    held_out_batches,
    padded_size,
    select_model_features,
    shuffled_indices,
    split_validation,
    with_data_sizes,
)
from v2s_jax.datasets.dataset import ClipDataset, CorruptPolicy, open_dataset
from v2s_jax.datasets.schema import (
    ClipRecord,
    ClipSource,
    Metadata,
    record_features,
)
from v2s_jax.datasets.statistics import feature_statistics
from v2s_jax.quantize import waveform_from_int16, waveform_to_int16

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
    "split_validation",
    "waveform_from_int16",
    "waveform_to_int16",
    "with_data_sizes",
]
