"""The auxiliary loss of `aligned`: context vectors predict the loudness of the sound.

When a sound starts is worth a few bits, and a second of it costs thousands, so the likelihood alone
teaches the context encoder late what matters most:

    loss = weight * mean over the samples of whole clips of (prediction - y)^2

with y as in `v2s_jax.model.loudness`. Ours, not in the paper.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from v2s_jax.model import (
    VideoToSound,
    loudness,
    predict_loudness,
    split_by_vector,
)


def loudness_loss(
    model: VideoToSound,
    params: dict[str, Any],
    levels: Int[Array, "batch samples"],
    features: Float[Array, "batch window feature_dim"],
    mask: Bool[Array, "batch samples"],
) -> Float[Array, ""]:
    """Return the loss of clips, summed over samples; vectors with padding do not count."""
    config = model.config
    error = predict_loudness(model, params, features) - loudness(config, levels)
    whole = jnp.all(split_by_vector(config, mask), axis=-1)
    samples = levels.shape[1] // error.shape[1]
    return config.training.loudness_weight * samples * jnp.sum(jnp.square(error) * whole)
