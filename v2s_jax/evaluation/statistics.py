"""Scores over clips with bootstrap intervals, or the reason why there is none; shuffled controls.

Uncertainty comes from drawing the clips again with replacement. A score is always taken of counts
summed over clips, never averaged over clips. What is unknown is None, never NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

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
MAX_DERANGEMENTS = 20
"""Pairings of a shuffled control, fewer when there are fewer clips."""

ScoreFn = Callable[[Float64[np.ndarray, "... counts"]], Float64[np.ndarray, "..."]]
"""Score of summed counts, over any leading axes."""
Waveform = Float32[np.ndarray, " _"]
"""Samples in [-1, 1], of any number."""
Audio = Sequence[Waveform]
"""One waveform for each clip."""


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
    """Return `score` of the counts summed over clips; the score of zero counts must be 0."""
    return pooled_difference(counts, np.zeros_like(counts), score, seed, strata)


def pooled_difference(
    counts: Float64[np.ndarray, "clips counts"],
    baseline: Float64[np.ndarray, "clips counts"],
    score: ScoreFn,
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Estimate:
    """Return `score` of the summed `counts` minus that of `baseline`.

    Paired: a clip that is drawn enters both sums, as often as it is drawn. With `strata`, group
    numbers of the clips, each group is resampled separately, keeps its size and needs MIN_CLIPS.
    """
    clips = len(counts)
    difference = float(score(counts.sum(axis=0)) - score(baseline.sum(axis=0)))
    groups = np.zeros(clips, np.int64) if strata is None else strata
    numbers, sizes = np.unique(groups, return_counts=True)
    if sizes.min() < MIN_CLIPS:
        return Estimate(difference, None, None, clips, too_few(int(sizes.min())))
    random = np.random.default_rng(seed)
    both = np.concatenate([counts, baseline], axis=1)
    sums = np.zeros((RESAMPLES, both.shape[1]))
    for number in numbers:
        sums += _resample(both[groups == number], random)
    differences = score(sums[:, : counts.shape[1]]) - score(sums[:, counts.shape[1] :])
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    if high - low <= ROUNDING * abs(difference):
        return Estimate(difference, None, None, clips, ALL_EQUAL)
    return Estimate(difference, float(low), float(high), clips, None)


def _resample(
    counts: Float64[np.ndarray, "clips counts"], random: np.random.Generator
) -> Float64[np.ndarray, "resamples counts"]:
    """Return sums over as many clips as there are, drawn with replacement."""
    clips, blocks = len(counts), []
    for start in range(0, RESAMPLES, RESAMPLES_PER_BLOCK):
        resamples = min(RESAMPLES_PER_BLOCK, RESAMPLES - start)
        indices = random.integers(clips, size=(resamples, clips))
        offsets = indices + clips * np.arange(resamples)[:, None]
        times = np.bincount(offsets.ravel(), minlength=resamples * clips)
        blocks.append(times.reshape(resamples, clips).astype(np.float64) @ counts)
    return np.concatenate(blocks)


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
    names, index = np.unique(categories, return_inverse=True)
    counts = np.stack([amounts, units], axis=1)
    for number, name in enumerate(names.tolist()):
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


def derangements(clips: int, seed: int) -> list[Int64[np.ndarray, " clips"]]:
    """Return permutations without fixed points: `pairing[i]` is the clip that i is paired with.

    They are rotations of one random order, so no two clips meet twice: MAX_DERANGEMENTS of them, or
    as many as there are. One clip has none.
    """
    order = np.random.default_rng(seed).permutation(clips)
    pairings = []
    for turn in range(1, min(MAX_DERANGEMENTS, clips - 1) + 1):
        partner = np.empty_like(order)
        partner[order] = np.roll(order, turn)
        pairings.append(partner)
    return pairings


def derange_within_category(
    categories: Sequence[str], seed: int, *, within: bool
) -> Int64[np.ndarray, " clips"]:
    """Give each clip another one, each used once: the negative control for what a model sees.

    Partners come from its own category if `within`, else from any. A clip without a possible
    partner keeps itself.
    """
    names = np.array(categories if within else [""] * len(categories))
    partner = np.arange(len(names))
    for name in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == name)
        for pairing in derangements(len(members), seed)[:1]:
            partner[members] = members[pairing]
    return partner
