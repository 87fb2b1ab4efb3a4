"""A waveform on a time axis in seconds."""

import math

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes

from v2s_jax.figures.style import INK, WAVE

MAX_COLUMNS = 1_600
"""About a plot's width in pixels: more would not be seen."""


def draw_waveform(
    axes: Axes, waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> None:
    """Draw the waveform, or its lowest and highest value per column where it is long."""
    per_column = math.ceil(len(waveform) / MAX_COLUMNS)
    starts = np.arange(0, len(waveform), per_column)
    lowest = np.minimum.reduceat(waveform, starts)
    highest = np.maximum.reduceat(waveform, starts)
    if per_column == 1:
        axes.plot(starts / sample_rate_hz, waveform, color=WAVE, linewidth=0.8)
    else:
        # A column reaches to the next one's first sample, so that the outline has no holes.
        low = np.minimum(lowest, np.append(highest[1:], np.inf))
        high = np.maximum(highest, np.append(lowest[1:], -np.inf))
        times_sec = (starts + per_column / 2) / sample_rate_hz
        axes.fill_between(times_sec, low, high, color=WAVE, linewidth=0.3)
    peak = float(np.abs(waveform).max())
    axes.set_ylim(-1.1 * (peak or 1.0), 1.1 * (peak or 1.0))
    axes.set_ylabel("amplitude\n(full scale = 1)", color=INK)
    axes.tick_params(labelbottom=False)
