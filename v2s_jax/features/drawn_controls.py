"""Controls without a video: curves drawn at random, with a category's range and pace.

    z(p)      = r z(p - 1) + sqrt(1 - r^2) e(p),  e ~ N(0, 1)
    loudness  = the category's quantile at Phi(z)
    onset     = the category's quantile at the rank of the rise of loudness among all parts

r is the correlation of loudness between neighbouring parts in the training set: a stream goes on, a
clock ticks.
"""

import itertools

import numpy as np

from v2s_jax.config import ExtractorConfig
from v2s_jax.features.controls import CONTROLS_PER_FRAME, pack_controls
from v2s_jax.types import Features


def draw_controls(config: ExtractorConfig, category: int, video_frames: int, seed: int) -> Features:
    """Return controls of one category, by its number; the same seed gives the same ones."""
    from scipy.special import ndtr  # slow to import, and only this function needs it

    assert config.categories and config.control_quantiles and config.control_memory
    count = len(config.categories)
    loudness_range, onset_range = config.quantiles[category]
    memory = config.control_memory[category]
    noise = np.random.default_rng(seed).normal(size=video_frames * CONTROLS_PER_FRAME)
    noise[1:] *= np.sqrt(1 - memory**2)
    z = np.array([*itertools.accumulate(noise, lambda before, new: memory * before + new)])
    at = np.linspace(0, 1, len(loudness_range))
    loudness = np.interp(ndtr(z), at, loudness_range)
    rise = np.maximum(np.diff(loudness, prepend=loudness[0]), 0)
    rank = np.searchsorted(np.sort(rise), rise, side="right")
    onset = np.interp((rank - 0.5) / len(rise), at, onset_range)
    weights = np.zeros((video_frames, count))
    weights[:, category] = 1
    return pack_controls(weights, loudness, onset)
