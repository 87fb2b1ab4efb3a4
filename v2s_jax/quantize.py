"""Waveform in [-1, 1] <-> integer levels.

The range is fixed, not the minimum and maximum of the clip: silence is the same level in every
clip, and loudness is preserved. With Q levels, half = Q / 2 and zero = Q // 2:

    linear   level = clip(round(x * half) + zero, 0, Q - 1)          x = (level - zero) / half
    mu-law   the same with x replaced by sign(x) log(1 + mu |x|) / log(1 + mu), mu = Q - 1

Example with Q = 256: x = -1, 0, 0.5 -> level 0, 128, 192 -> x = -1, 0, 0.5.

Source: 256 linear levels on [-1, 1] (Zhou et al. 2018, section 4 and figure 3); rounding to the
nearest level, so that exact silence is exactly level 128, is ours.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

from v2s_jax.errors import InputError

Quantization = Literal["linear", "mu_law"]

MIN_Q_LEVELS = 2
MAX_Q_LEVELS = 256  # levels are stored as uint8

INT16_SCALE = 32_768
"""Steps of 16-bit PCM per unit of amplitude, as in ffmpeg's s16 format."""


def q_zero(q_levels: int) -> int:
    """Return the level of silence."""
    return q_levels // 2


def quantize(
    waveform: Float[np.ndarray, "*shape"], q_levels: int, quantization: Quantization
) -> UInt8[np.ndarray, "*shape"]:
    """Convert amplitudes to levels; amplitudes outside [-1, 1] are clipped.

    Raises InputError when `waveform` has NaN or infinity.
    """
    x = np.asarray(waveform, np.float64)
    if not np.isfinite(x).all():
        raise InputError("waveform has NaN or infinity: remove them before quantizing it")
    x = np.clip(x, -1.0, 1.0)
    if quantization == "mu_law":
        mu = q_levels - 1
        x = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    levels = np.rint(x * (q_levels / 2)) + q_zero(q_levels)
    return np.clip(levels, 0, q_levels - 1).astype(np.uint8)


def dequantize(
    levels: UInt8[np.ndarray, "*shape"], q_levels: int, quantization: Quantization
) -> Float[np.ndarray, "*shape"]:
    """Convert levels to float32 amplitudes in [-1, 1]."""
    x = (np.arange(q_levels) - q_zero(q_levels)) / (q_levels / 2)
    if quantization == "mu_law":
        mu = q_levels - 1
        x = np.sign(x) * np.expm1(np.abs(x) * np.log1p(mu)) / mu
    return x.astype(np.float32)[levels]  # hours of audio are not held in float64


def waveform_to_int16(
    waveform: Float32[np.ndarray, " samples"],
) -> Int16[np.ndarray, " samples"]:
    """Round amplitudes to 16-bit PCM; those outside [-1, 1), so also +1.0, are clipped.

    Raises InputError when `waveform` has NaN or infinity.
    """
    if not np.isfinite(waveform).all():
        raise InputError("waveform contains NaN or infinity: fix the audio before writing it")
    steps = np.rint(waveform * np.float32(INT16_SCALE))
    return np.clip(steps, -INT16_SCALE, INT16_SCALE - 1).astype("<i2")


def waveform_from_int16(
    waveform: Int16[np.ndarray, " samples"],
) -> Float32[np.ndarray, " samples"]:
    """Return amplitudes in [-1, 1), without rounding."""
    return waveform.astype(np.float32) / np.float32(INT16_SCALE)
