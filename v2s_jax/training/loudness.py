"""The auxiliary loss of `aligned`: context vectors predict the loudness of the sound.

When a sound starts is worth a few bits, and a second of it costs thousands, so the likelihood alone
teaches the context encoder late what matters most. A linear map of each context vector therefore
predicts the level of the samples that it is there for, in units of 20 dB:

    y(s)    = log10(max(RMS of the samples of vector s, 10^(FLOOR_DB / 20)))
    loss    = weight * mean over samples of (prediction - y)^2

Only training computes it. Ours, not in the paper.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from v2s_jax.config import Config
from v2s_jax.model import VideoToSound, predict_loudness
from v2s_jax.quantize import dequantize

FLOOR_DB = -60.0
"""Quieter counts as silence: the synthetic background is at -60 dB of full scale."""
DB_PER_BEL_OF_POWER = 10.0
DB_PER_UNIT = 20.0
"""Loudness of 0 to -60 dB is 0 to -3."""


def loudness(config: Config, levels: Int[Array, "batch samples"]) -> Float[Array, "batch vectors"]:
    """Return the level of the samples of each context vector, in units of 20 dB of full scale."""
    model = config.model
    amplitude = dequantize(
        np.arange(model.q_levels, dtype=np.uint8), model.q_levels, model.quantization
    )
    power = jnp.square(jnp.asarray(amplitude, jnp.float32))[_by_vector(config, levels)]
    floor = 10.0 ** (FLOOR_DB / DB_PER_BEL_OF_POWER)
    decibel = DB_PER_BEL_OF_POWER * jnp.log10(jnp.maximum(jnp.mean(power, axis=-1), floor))
    return decibel / DB_PER_UNIT


def loudness_loss(
    model: VideoToSound,
    params: dict[str, Any],
    levels: Int[Array, "batch samples"],
    features: Float[Array, "batch window feature_dim"],
    mask: Bool[Array, "batch samples"],
) -> Float[Array, ""]:
    """Return the loss of a chunk, summed over its samples; vectors with padding do not count."""
    config = model.config
    if not config.training.loudness_weight or config.model.variant != "aligned":
        return jnp.float32(0)
    error = predict_loudness(model, params, features) - loudness(config, levels)
    whole = jnp.all(_by_vector(config, mask), axis=-1)
    samples = levels.shape[1] // error.shape[1]
    return config.training.loudness_weight * samples * jnp.sum(jnp.square(error) * whole)


def _by_vector(config: Config, x: Array) -> Array:
    """Split the samples of a chunk by context vectors; a chunk inside one has one part."""
    return x.reshape(len(x), max(1, x.shape[1] // config.samples_per_vector), -1)
