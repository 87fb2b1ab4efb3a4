"""A small model of controls, as `v2s train sounds` makes them."""

import dataclasses

import numpy as np

from v2s_jax.config import SOUNDS, ExtractorConfig
from v2s_jax.features.controls import CONTROLS_VERSION, QUANTILES

CATEGORIES = ("dog", "drum")
CONFIG = dataclasses.replace(
    SOUNDS,
    extraction=ExtractorConfig(
        controls_version=CONTROLS_VERSION,
        categories=CATEGORIES,
        control_quantiles=tuple(np.tile(np.linspace(0, 1, QUANTILES), 4).tolist()),
        control_memory=(0.9, 0.5),
    ),
    model=dataclasses.replace(
        SOUNDS.model,
        dim=16,
        mlp_dim=16,
        embedding_dim=8,
        context_dim=8,
        appearance_dim=2,
        motion_dim=8,
    ),
)
