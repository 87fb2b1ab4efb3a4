"""Uncertainty of a difference, by drawing the clips again with replacement."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES = 10_000
"""Draws of all clips; an end of the interval then varies by about 0.01 of its width."""
CONFIDENCE = 0.95
"""Share of the resamples inside the interval."""


class Interval(NamedTuple):
    """A difference and the ends of its percentile interval."""

    difference: float
    low: float
    high: float


def difference_interval(
    own: Float64[np.ndarray, "clips counts"],
    other: Float64[np.ndarray, "clips counts"],
    score: Callable[[Float64[np.ndarray, "... counts"]], Float64[np.ndarray, "..."]],
    seed: int,
) -> Interval:
    """Return `score` of the summed counts of `own` minus that of `other`, with its interval.

    Paired: a clip that is drawn enters both sums, as often as it is drawn. The score is taken of
    sums over clips in every resample, never averaged over clips.
    """
    drawn = drawn_clips(len(own), seed)
    low, high = ends(score(drawn @ own) - score(drawn @ other))
    return Interval(float(score(own.sum(0)) - score(other.sum(0))), low, high)


def drawn_clips(clips: int, seed: int) -> Int64[np.ndarray, "resamples clips"]:
    """Return how often each clip is drawn in each resample."""
    return np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), RESAMPLES)


def ends(values: Float64[np.ndarray, "resamples"]) -> tuple[float, float]:
    """Return the ends of the percentile interval."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)
