"""A score over clips with its interval, or the reason why there is none.

Rows of estimates turn into JSON by `dataclasses.asdict`: what is unknown is null, never NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from v2s_jax.errors import InputError
from v2s_jax.evaluation.bootstrap import difference_interval

LEAST_CLIPS = 5
"""Fewest clips that get an interval: n clips can be drawn again in C(2n - 1, n) ways, which is 126
for 5 and 35 for 4, where a tail of 2.5 % would be less than one of them."""
ALIKE = "all alike: drawing them again tells nothing"
"""Why there is no interval where each resample gives the same: no hit in ten clips does not mean
that there would be none in a thousand."""
ROUNDING = 1e-12
"""Width of an interval, relative to its value, that is the rounding of float64 sums."""


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


def share_of(counts: Float64[np.ndarray, "*many 2"]) -> Float64[np.ndarray, "*many"]:
    """Return the first of two counts divided by the second; 0 of nothing."""
    part, whole = counts[..., 0], counts[..., 1]
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def pooled(
    counts: Float64[np.ndarray, "clips counts"],
    score: Callable[[Float64[np.ndarray, "... counts"]], Float64[np.ndarray, "..."]],
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Estimate:
    """Return `score` of the counts summed over clips; it must be 0 of no counts at all.

    With `strata`, numbers of groups that keep their sizes, each needs LEAST_CLIPS. Clips that are
    all alike have no interval.
    """
    return pooled_difference(counts, np.zeros_like(counts), score, seed, strata)


def pooled_difference(
    own: Float64[np.ndarray, "clips counts"],
    other: Float64[np.ndarray, "clips counts"],
    score: Callable[[Float64[np.ndarray, "... counts"]], Float64[np.ndarray, "..."]],
    seed: int,
    strata: Int64[np.ndarray, " clips"] | None = None,
) -> Estimate:
    """Return `score` of `own` minus that of `other`; a clip that is drawn enters both."""
    clips = len(own)
    fewest = clips if strata is None else int(np.unique(strata, return_counts=True)[1].min())
    if fewest < LEAST_CLIPS:
        difference = float(score(own.sum(axis=0)) - score(other.sum(axis=0)))
        return Estimate(difference, None, None, clips, too_few(fewest))
    found = difference_interval(own, other, score, seed, strata)
    if found.high - found.low <= ROUNDING * abs(found.difference):
        return Estimate(found.difference, None, None, clips, ALIKE)
    return Estimate(*found, clips, None)


def mean(values: Sequence[float | None], seed: int, undefined: str) -> Estimate:
    """Return the mean over the clips that have a value; `undefined` says why others have none."""
    known = np.array([value for value in values if value is not None], np.float64)
    if not known.size:
        return missing(undefined)
    return pooled(np.stack([known, np.ones_like(known)], axis=1), share_of, seed)


def too_few(count: int, unit: str = "clip") -> str:
    """Say why a score has no interval."""
    return f"{count} {unit}{'' if count == 1 else 's'}: an interval needs {LEAST_CLIPS}"


def check_pairs(
    generated: Sequence[Float32[np.ndarray, " _"]], true: Sequence[Float32[np.ndarray, " _"]]
) -> None:
    """Raise InputError unless each sound has a true one of its length, and all are finite."""
    if not generated or len(generated) != len(true):
        raise InputError(
            f"{len(generated)} generated and {len(true)} true sounds: give one of each for every "
            "clip, and at least one clip"
        )
    for clip, (made, real) in enumerate(zip(generated, true, strict=True)):
        if len(made) != len(real) or not len(made):
            raise InputError(
                f"clip {clip}: {len(made)} generated samples, {len(real)} true ones: generate as "
                "many as the clip has, and at least one"
            )
        if not (np.isfinite(made).all() and np.isfinite(real).all()):
            raise InputError(f"clip {clip}: NaN or infinity in its sound: generate it again")


def check_categories(categories: Sequence[str], sounds: Sequence[object]) -> None:
    """Raise InputError unless each sound has a category."""
    if len(categories) != len(sounds):
        raise InputError(
            f"{len(categories)} categories, {len(sounds)} sounds: give the category of each clip"
        )
