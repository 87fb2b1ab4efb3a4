"""Amounts of clips, by category, of all clips, and averaged over the categories, with intervals."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.evaluation.estimate import Estimate, pooled, share_of

ALL_CLIPS, MEAN_OF_CATEGORIES = "all clips", "mean of categories"
"""Summed over all clips and divided once; and the average of what the categories have, as a model
for each of them is averaged."""


class OfCategory(NamedTuple):
    """An amount per unit, of a category or of all."""

    category: str
    estimate: Estimate


def by_category(
    amounts: Float64[np.ndarray, " clips"],
    units: Float64[np.ndarray, " clips"],
    categories: Sequence[str],
    seed: int,
) -> Iterator[OfCategory]:
    """Yield sum of amounts / sum of units: of each category, of all clips, mean of categories."""
    names = sorted(set(categories))
    index = np.array([names.index(category) for category in categories])
    counts = np.stack([amounts, units], axis=1)
    for number, name in enumerate(names):
        yield OfCategory(name, pooled(counts[index == number], share_of, seed))
    yield OfCategory(ALL_CLIPS, pooled(counts, share_of, seed))
    own = index[:, None] == np.arange(len(names))  # [clips, categories]
    apart = (counts[:, :, None] * own[:, None, :]).reshape(len(counts), -1)
    yield OfCategory(MEAN_OF_CATEGORIES, pooled(apart, _mean_of_shares, seed, index))


def _mean_of_shares(sums: Float64[np.ndarray, "*many counts"]) -> Float64[np.ndarray, "*many"]:
    amounts, units = np.split(sums, 2, axis=-1)
    return np.asarray(share_of(np.stack([amounts, units], axis=-1)).mean(axis=-1))
