"""Loudness over time: how alike two sounds rise and fall, and how much one is late.

    e(k)  = RMS of the waveform over STEP_SEC, at k STEP_SEC
    r(j)  = Pearson correlation of e_generated(k + j) with e_true(k), where both exist
    lag   = STEP_SEC argmax_j r(j),  |j| STEP_SEC <= MAX_LAG_SEC

A positive lag is a late generated sound. Needs no onsets, so it also scores what has none (water,
a helicopter).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

STEP_SEC = 0.010
"""100 values per second: six in a video frame of 64 ms."""
MAX_LAG_SEC = 0.5
"""Farthest lag that is looked at; never more than a fourth of the clip, so most of it counts."""
LEAST_DEVIATION = 2.0**-16
"""Standard deviation below which an envelope is flat and correlates with nothing: half a step of
16 bits."""
EQUAL_DECIMALS = 9
"""Correlations that differ by less differ by rounding."""


class Agreement(NamedTuple):
    """How two envelopes agree."""

    correlation: float
    """At lag 0, from -1 to 1."""
    best_correlation: float
    """At the best lag."""
    lag_sec: float
    """The best lag; positive where the generated sound is late."""


def envelope(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " steps"]:
    """Return the RMS of each whole step of the waveform."""
    step = round(STEP_SEC * sample_rate_hz)
    steps = len(waveform) // step
    blocks = waveform[: steps * step].astype(np.float64).reshape(steps, step)
    return np.sqrt(np.mean(blocks**2, axis=1))


def agreement(
    generated: Float64[np.ndarray, " _"], true: Float64[np.ndarray, " _"]
) -> Agreement | None:
    """Compare two envelopes over their common beginning; None where one of them is flat.

    Of lags that fit equally well the nearest to 0 is the best.
    """
    common = min(len(generated), len(true))
    if not common:
        return None
    farthest = min(round(MAX_LAG_SEC / STEP_SEC), common // 4)
    correlations = _correlations(generated[:common], true[:common], farthest)
    if np.isnan(correlations[farthest]):
        return None
    by_distance = np.array(sorted(range(-farthest, farthest + 1), key=abs))
    ordered = np.round(correlations[by_distance + farthest], EQUAL_DECIMALS)
    best = int(by_distance[np.nanargmax(ordered)])
    return Agreement(
        float(correlations[farthest]), float(correlations[best + farthest]), best * STEP_SEC
    )


def _correlations(
    generated: Float64[np.ndarray, " steps"], true: Float64[np.ndarray, " steps"], farthest: int
) -> Float64[np.ndarray, " lags"]:
    """Return Pearson correlations at lags -farthest to farthest; NaN where one part is flat.

    Each over the steps that both have: at lag 2 the third step of `generated` meets the first of
    `true`.
    """
    steps = len(true)
    lags = np.arange(-farthest, farthest + 1)
    late, early = np.maximum(lags, 0), np.maximum(-lags, 0)
    count = steps - np.abs(lags)
    products = np.correlate(generated, true, "full")[lags + steps - 1]

    def moments(values: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of `count` values each, from `skipped` on."""
        sums, squares = (np.append(0.0, np.cumsum(powers)) for powers in (values, values**2))
        mean = (sums[skipped + count] - sums[skipped]) / count
        variance = (squares[skipped + count] - squares[skipped]) / count - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0))

    mean, deviation = moments(generated, late)
    true_mean, true_deviation = moments(true, early)
    moves = np.minimum(deviation, true_deviation) >= LEAST_DEVIATION
    product = np.where(moves, deviation * true_deviation, np.nan)
    return np.clip((products / count - mean * true_mean) / product, -1.0, 1.0)
