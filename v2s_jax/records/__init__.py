"""Records: the schema of a clip on disk, and reading a data set as batches.

In: a TFDS folder (TFRecord shards, features.json, dataset_info.json, metadata.json), or clips made
in memory by who implements `Clips`.
Out: NumPy arrays, one `ClipRecord` at a time or as `Batch`. Reading never imports TensorFlow;
writing lives in `data/shards.py`.
"""

from v2s_jax.records.batches import (
    batches,
    check_fits,
    clip_order,
    held_out_batches,
    model_features,
    padded_size,
)
from v2s_jax.records.clips import Clips
from v2s_jax.records.data_set import Damaged, DataSet, open_data_set
from v2s_jax.records.schema import (
    ClipRecord,
    Metadata,
    record_features,
    waveform_from_int16,
    waveform_to_int16,
)
from v2s_jax.records.statistics import feature_statistics

__all__ = [
    "ClipRecord",
    "Clips",
    "Damaged",
    "DataSet",
    "Metadata",
    "batches",
    "check_fits",
    "clip_order",
    "feature_statistics",
    "held_out_batches",
    "model_features",
    "open_data_set",
    "padded_size",
    "record_features",
    "waveform_from_int16",
    "waveform_to_int16",
]
