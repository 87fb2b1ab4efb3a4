"""The configuration as a value: clock, extractor, model sizes and training run.

Sizes that follow from others are properties here and nowhere else. Every checkpoint holds its
config as JSON, so sampling needs no model options. Vary a preset with `dataclasses.replace`.
"""

from v2s_jax.config.clock import Clock
from v2s_jax.config.config import (
    DEMO,
    PAPER,
    PRESETS,
    SOUNDS,
    TINY,
    Config,
    differing_fields,
    flat_fields,
)
from v2s_jax.config.extractor import (
    ExtractorConfig,
    ExtractorName,
    Fc6,
    FlowMethod,
    MotionOrigin,
    VggPrecision,
    VideoExtractorName,
)
from v2s_jax.config.model import THREE_TIERS, TWO_TIERS, Cell, Feature, ModelConfig, Variant
from v2s_jax.config.training import (
    MAX_CHRONO_INIT_TICKS,
    MAX_SEED,
    MIN_CHRONO_INIT_TICKS,
    VALIDATION,
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
    "SOUNDS",
    "THREE_TIERS",
    "TINY",
    "TWO_TIERS",
    "VALIDATION",
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
    "VideoExtractorName",
    "differing_fields",
    "flat_fields",
]
