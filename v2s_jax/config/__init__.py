"""The configuration: one clock, the model's sizes, the training run. A config is a value.

Frozen dataclasses hold every number that a stage reads; sizes that follow from others are
properties here and nowhere else. A config travels as JSON inside every checkpoint, so sampling
takes no model flags. `PRESETS` holds the named configs; variations are made with
`dataclasses.replace`.
"""

from v2s_jax.config.clock import Clock
from v2s_jax.config.config import Config, differing_fields, flat_fields
from v2s_jax.config.extractor import (
    ExtractorConfig,
    ExtractorName,
    Fc6,
    FlowMethod,
    MotionOrigin,
    VggPrecision,
)
from v2s_jax.config.model import (
    THREE_TIERS,
    TIERS,
    TWO_TIERS,
    Cell,
    Feature,
    ModelConfig,
    Variant,
)
from v2s_jax.config.presets import DEMO, PAPER, PRESETS, TINY
from v2s_jax.config.training import (
    MAX_CHRONO_INIT_TICKS,
    MAX_SEED,
    MIN_CHRONO_INIT_TICKS,
    Precision,
    TrainingConfig,
)

__all__ = [
    "DEMO",
    "MAX_CHRONO_INIT_TICKS",
    "MAX_SEED",
    "MIN_CHRONO_INIT_TICKS",
    "PAPER",
    "PRESETS",
    "THREE_TIERS",
    "TIERS",
    "TINY",
    "TWO_TIERS",
    "Cell",
    "Clock",
    "Config",
    "ExtractorConfig",
    "ExtractorName",
    "Fc6",
    "Feature",
    "FlowMethod",
    "ModelConfig",
    "MotionOrigin",
    "Precision",
    "TrainingConfig",
    "Variant",
    "VggPrecision",
    "differing_fields",
    "flat_fields",
]
