"""Uncertainty of a difference, by drawing the clips again with replacement."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES = 10_000
"""Draws of all clips; an end of the interval then varies by about 0.01 of its width."""
CONFIDENCE = 0.95
"""Share of the resamples inside the interval."""
BLOCK = 500
"""Resamples at a time: the draws of 10,000 clips take 40 MB."""


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
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Interval:
    """Return `score` of the summed counts of `own` minus that of `other`, with its interval.

    Paired: a clip that is drawn enters both sums, as often as it is drawn. The score is taken of
    sums over clips in every resample, never averaged over clips. With `strata`, numbers of the
    groups that clips are of, each group is drawn from alone and keeps its size.
    """
    random = np.random.default_rng(seed)
    groups = np.zeros(len(own), np.int64) if strata is None else strata
    both = np.concatenate([own, other], axis=1)
    sums = np.zeros((RESAMPLES, both.shape[1]))
    for group in np.unique(groups):
        sums += _resampled(both[groups == group], random)
    differences = score(sums[:, : own.shape[1]]) - score(sums[:, own.shape[1] :])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    return Interval(float(score(own.sum(0)) - score(other.sum(0))), float(low), float(high))


def _resampled(
    counts: Float64[np.ndarray, "clips counts"], random: np.random.Generator
) -> Float64[np.ndarray, "resamples counts"]:
    """Return the sums over as many clips as there are, drawn with replacement."""
    clips = len(counts)

    def block(resamples: int) -> Float64[np.ndarray, "block counts"]:
        drawn = random.integers(clips, size=(resamples, clips))
        place = drawn + clips * np.arange(resamples)[:, None]
        times = np.bincount(place.ravel(), minlength=resamples * clips)
        return times.reshape(resamples, clips).astype(np.float64) @ counts

    sizes = (min(BLOCK, RESAMPLES - first) for first in range(0, RESAMPLES, BLOCK))
    return np.concatenate([block(size) for size in sizes])
