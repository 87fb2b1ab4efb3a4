"""Loudness over time: how well two envelopes correlate, and by how much one lags the other.

    e(k)  = RMS of the waveform over STEP_SEC, at k STEP_SEC
    r(j)  = Pearson correlation of e_generated(k + j) with e_reference(k), where both exist
    lag   = STEP_SEC argmax_j r(j),  |j| STEP_SEC <= MAX_LAG_SEC

A positive lag means late generated audio. Needs no onsets, so it also scores what has none (water,
a helicopter).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.evaluation.matching import MS_PER_SEC
from v2s_jax.evaluation.statistics import Estimate, mean

STEP_SEC = 0.010
"""100 values per second: six in a video frame of 64 ms."""
MAX_LAG_SEC = 0.5
"""Longest lag tried; never more than a fourth of the clip, so most of it counts."""
MIN_DEVIATION = 2.0**-16
"""Standard deviation below which an envelope is flat and correlates with nothing: half a step of
16 bits."""
EQUAL_DECIMALS = 9
"""Correlations that differ by less differ by rounding."""
FLAT = "every envelope is flat: silence and steady audio do not correlate"
ONE_CLIP = "1 clip: shuffling needs 2"


class Agreement(NamedTuple):
    """How well two envelopes agree."""

    correlation: float
    """At lag 0, from -1 to 1."""
    best_correlation: float
    """At the best lag."""
    lag_sec: float
    """The best lag; positive where the generated audio is late."""


@dataclass(frozen=True)
class LoudnessRow:
    """Means over clips of the correlation of loudness with the reference audio."""

    correlation: Estimate
    best_correlation: Estimate
    shuffled_correlation: Estimate
    """With the reference audio of another clip of the category."""
    median_lag_ms: float | None


def envelope(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " steps"]:
    """Return the RMS of each whole step of the waveform."""
    step = round(STEP_SEC * sample_rate_hz)
    steps = len(waveform) // step
    blocks = waveform[: steps * step].astype(np.float64).reshape(steps, step)
    return np.sqrt(np.mean(blocks**2, axis=1))


def compare_envelopes(
    generated: Float64[np.ndarray, " _"], reference: Float64[np.ndarray, " _"]
) -> Agreement | None:
    """Compare two envelopes over their common beginning; None where one of them is flat.

    Of lags that fit equally well, the one nearest to 0 is the best.
    """
    common = min(len(generated), len(reference))
    if not common:
        return None
    max_lag = min(round(MAX_LAG_SEC / STEP_SEC), common // 4)
    correlations = _correlations(generated[:common], reference[:common], max_lag)
    if np.isnan(correlations[max_lag]):
        return None
    by_distance = np.array(sorted(range(-max_lag, max_lag + 1), key=abs))
    ordered = np.round(correlations[by_distance + max_lag], EQUAL_DECIMALS)
    best = int(by_distance[np.nanargmax(ordered)])
    return Agreement(
        float(correlations[max_lag]), float(correlations[best + max_lag]), best * STEP_SEC
    )


def _correlations(
    generated: Float64[np.ndarray, " steps"], reference: Float64[np.ndarray, " steps"], max_lag: int
) -> Float64[np.ndarray, " lags"]:
    """Return Pearson correlations at lags -max_lag to max_lag; NaN where one part is flat.

    Each over the steps that both have: at lag 2 the third step of `generated` meets the first of
    `reference`.
    """
    steps = len(reference)
    lags = np.arange(-max_lag, max_lag + 1)
    late, early = np.maximum(lags, 0), np.maximum(-lags, 0)
    count = steps - np.abs(lags)
    products = np.correlate(generated, reference, "full")[lags + steps - 1]

    def moments(values: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of `count` values each, from `skipped` on."""
        sums, squares = (np.append(0.0, np.cumsum(powers)) for powers in (values, values**2))
        mean = (sums[skipped + count] - sums[skipped]) / count
        variance = (squares[skipped + count] - squares[skipped]) / count - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0))

    generated_mean, generated_deviation = moments(generated, late)
    reference_mean, reference_deviation = moments(reference, early)
    varies = np.minimum(generated_deviation, reference_deviation) >= MIN_DEVIATION
    deviations = np.where(varies, generated_deviation * reference_deviation, np.nan)
    covariance = products / count - generated_mean * reference_mean
    return np.clip(covariance / deviations, -1.0, 1.0)


def evaluate_loudness(
    agreements: Sequence[Agreement | None], shuffled: Sequence[Agreement | None], seed: int
) -> LoudnessRow:
    """Average the agreement with the reference audio, and with that of other clips, if any."""
    lags_sec = [one.lag_sec for one in agreements if one is not None]
    return LoudnessRow(
        mean([one and one.correlation for one in agreements], seed, FLAT),
        mean([one and one.best_correlation for one in agreements], seed, FLAT),
        mean([one and one.correlation for one in shuffled], seed, FLAT if shuffled else ONE_CLIP),
        float(MS_PER_SEC * np.median(lags_sec)) if lags_sec else None,
    )
