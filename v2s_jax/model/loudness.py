"""The loudness of what a context vector is there for, which `aligned` can learn to predict.

    y(s) = log10(max(RMS of the samples of vector s, 10^(FLOOR_DB / DB_PER_UNIT)))

A model whose training had a `loudness_weight` predicts y by a linear map of its context vectors
(`predict_loudness`). Training compares it with the sound, and so does the detector of sounds that
have nothing to do with their video. Ours, not in the paper.
"""

import numpy as np
from jaxtyping import Array, Float, Int

from v2s_jax.config import Config
from v2s_jax.quantize import dequantize

FLOOR_DB = -60.0
"""Quieter counts as silence: the synthetic background is at -60 dB of full scale."""
DB_PER_UNIT = 20.0
"""Loudness of 0 to -60 dB is 0 to -3."""


def has_loudness(config: Config) -> bool:
    """Say whether a model predicts loudness."""
    return config.model.variant == "aligned" and config.training.loudness_weight > 0


def loudness(
    config: Config, levels: Int[Array | np.ndarray, "batch samples"]
) -> Float[Array | np.ndarray, "batch vectors"]:
    """Return the level of the samples of each context vector, in units of 20 dB of full scale.

    Levels of NumPy are not computed by JAX, which would compile each operation.
    """
    xp = levels.__array_namespace__()
    model = config.model
    every_level = np.arange(model.q_levels, dtype=np.uint8)
    amplitude = dequantize(every_level, model.q_levels, model.quantization)
    power = xp.square(xp.asarray(amplitude, xp.float32))[split_by_vector(config, levels)]
    floor = 10.0 ** (2 * FLOOR_DB / DB_PER_UNIT)
    return xp.log10(xp.maximum(xp.mean(power, axis=-1), floor)) / 2


def split_by_vector(config: Config, x: Array | np.ndarray) -> Array | np.ndarray:
    """Split the samples of a chunk by context vectors; a chunk inside one has one part."""
    return x.reshape(len(x), max(1, x.shape[1] // config.samples_per_vector), -1)
