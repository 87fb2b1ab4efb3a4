"""Scores over clips with bootstrap intervals, or the reason why there is none.

Uncertainty comes from drawing the clips again with replacement. A score is always taken of counts
summed over clips, never averaged over clips. What is unknown is None, never NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from v2s_jax.errors import InputError

RESAMPLES = 10_000
"""Bootstrap resamples; an end of the interval then varies by about 0.01 of its width."""
CONFIDENCE = 0.95
"""Share of the resamples inside the interval."""
RESAMPLES_PER_BLOCK = 500
"""Resamples drawn at once: the indices of 10,000 clips take 40 MB."""
MIN_CLIPS = 5
"""Fewest clips that get an interval: n clips can be drawn again in C(2n - 1, n) ways, which is 126
for 5 and 35 for 4, where a tail of 2.5 % would be less than one of them."""
ALL_EQUAL = "all clips are equal: resampling them says nothing"
"""Why there is no interval where each resample gives the same: no hit in ten clips does not mean
that there would be none in a thousand."""
ROUNDING = 1e-12
"""Width of an interval, relative to its value, that is float64 rounding."""
ALL_CLIPS = "all clips"
"""Group of all clips: summed over them and divided once."""
MEAN_OF_CATEGORIES = "mean of categories"
"""Average of the categories' scores, as where one model for each of them is averaged."""

ScoreFn = Callable[[Float64[np.ndarray, "... counts"]], Float64[np.ndarray, "..."]]
"""Score of summed counts, over any leading axes."""
Audio = Sequence[Float32[np.ndarray, " _"]]
"""One waveform for each clip, of any length."""


class Interval(NamedTuple):
    """A difference and the ends of its percentile interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A score; `low` and `high` are the ends of its 95 % bootstrap interval over clips."""

    value: float | None
    low: float | None
    high: float | None
    clips: int
    """How many clips it rests on."""
    reason: str | None
    """Why there is no value, or no interval."""


def difference_interval(
    counts: Float64[np.ndarray, "clips counts"],
    baseline: Float64[np.ndarray, "clips counts"],
    score: ScoreFn,
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Interval:
    """Return `score` of the summed `counts` minus that of `baseline`, with its interval.

    Paired: a clip that is drawn enters both sums, as often as it is drawn. With `strata`, group
    numbers of the clips, each group is resampled separately and keeps its size.
    """
    random = np.random.default_rng(seed)
    groups = np.zeros(len(counts), np.int64) if strata is None else strata
    both = np.concatenate([counts, baseline], axis=1)
    sums = np.zeros((RESAMPLES, both.shape[1]))
    for group in np.unique(groups):
        sums += _resample(both[groups == group], random)
    differences = score(sums[:, : counts.shape[1]]) - score(sums[:, counts.shape[1] :])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    return Interval(float(score(counts.sum(0)) - score(baseline.sum(0))), float(low), float(high))


def _resample(
    counts: Float64[np.ndarray, "clips counts"], random: np.random.Generator
) -> Float64[np.ndarray, "resamples counts"]:
    """Return sums over as many clips as there are, drawn with replacement."""
    clips = len(counts)

    def block(resamples: int) -> Float64[np.ndarray, "block counts"]:
        indices = random.integers(clips, size=(resamples, clips))
        offsets = indices + clips * np.arange(resamples)[:, None]
        times = np.bincount(offsets.ravel(), minlength=resamples * clips)
        return times.reshape(resamples, clips).astype(np.float64) @ counts

    starts = range(0, RESAMPLES, RESAMPLES_PER_BLOCK)
    return np.concatenate([block(min(RESAMPLES_PER_BLOCK, RESAMPLES - start)) for start in starts])


def missing(reason: str, clips: int = 0) -> Estimate:
    """Return an estimate without a value."""
    return Estimate(None, None, None, clips, reason)


def share(counts: Float64[np.ndarray, "*many 2"]) -> Float64[np.ndarray, "*many"]:
    """Return the first of two counts divided by the second; 0 of nothing."""
    part, whole = counts[..., 0], counts[..., 1]
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def pooled(
    counts: Float64[np.ndarray, "clips counts"],
    score: ScoreFn,
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Estimate:
    """Return `score` of the counts summed over clips; the score of zero counts must be 0.

    With `strata`, numbers of groups that keep their sizes, each needs MIN_CLIPS. Clips that are
    all equal have no interval.
    """
    return pooled_difference(counts, np.zeros_like(counts), score, seed, strata)


def pooled_difference(
    counts: Float64[np.ndarray, "clips counts"],
    baseline: Float64[np.ndarray, "clips counts"],
    score: ScoreFn,
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Estimate:
    """Return `score` of `counts` minus that of `baseline`, paired by clip."""
    clips = len(counts)
    fewest = clips if strata is None else int(np.unique(strata, return_counts=True)[1].min())
    if fewest < MIN_CLIPS:
        difference = float(score(counts.sum(axis=0)) - score(baseline.sum(axis=0)))
        return Estimate(difference, None, None, clips, too_few(fewest))
    interval = difference_interval(counts, baseline, score, seed, strata)
    if interval.high - interval.low <= ROUNDING * abs(interval.difference):
        return Estimate(interval.difference, None, None, clips, ALL_EQUAL)
    return Estimate(*interval, clips, None)


def mean(values: Sequence[float | None], seed: int, undefined: str) -> Estimate:
    """Return the mean over the clips that have a value; `undefined` says why others have none."""
    known = np.array([value for value in values if value is not None], np.float64)
    if not known.size:
        return missing(undefined)
    return pooled(np.stack([known, np.ones_like(known)], axis=1), share, seed)


def estimate_by_category(
    amounts: Float64[np.ndarray, " clips"],
    units: Float64[np.ndarray, " clips"],
    categories: Sequence[str],
    seed: int,
) -> Iterator[tuple[str, Estimate]]:
    """Yield sum of amounts / sum of units: of each category, of all clips, mean of categories."""
    names = sorted(set(categories))
    index = np.array([names.index(category) for category in categories])
    counts = np.stack([amounts, units], axis=1)
    for number, name in enumerate(names):
        yield name, pooled(counts[index == number], share, seed)
    yield ALL_CLIPS, pooled(counts, share, seed)
    members = index[:, None] == np.arange(len(names))  # [clips, categories]
    separate = (counts[:, :, None] * members[:, None, :]).reshape(len(counts), -1)
    yield MEAN_OF_CATEGORIES, pooled(separate, _mean_of_shares, seed, index)


def _mean_of_shares(sums: Float64[np.ndarray, "*many counts"]) -> Float64[np.ndarray, "*many"]:
    amounts, units = np.split(sums, 2, axis=-1)
    return np.asarray(share(np.stack([amounts, units], axis=-1)).mean(axis=-1))


def too_few(count: int, unit: str = "clip") -> str:
    """Say why a score has no interval."""
    return f"{plural(count, unit)}: an interval needs {MIN_CLIPS}"


def plural(count: int, unit: str) -> str:
    """Return a count with its unit."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def check_pairs(generated: Audio, reference: Audio) -> None:
    """Raise InputError unless each waveform has a reference of its length, and all are finite."""
    if not generated or len(generated) != len(reference):
        raise InputError(
            f"{len(generated)} generated and {len(reference)} reference waveforms: give one of "
            "each for every clip, and at least one clip"
        )
    for clip, (waveform, target) in enumerate(zip(generated, reference, strict=True)):
        if len(waveform) != len(target) or not len(waveform):
            raise InputError(
                f"clip {clip}: {len(waveform)} generated samples, {len(target)} in the reference: "
                "generate as many as the clip has, and at least one"
            )
        if not (np.isfinite(waveform).all() and np.isfinite(target).all()):
            raise InputError(f"clip {clip}: NaN or infinity in its audio: generate it again")
