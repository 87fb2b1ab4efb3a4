"""Evaluation during training: bits per sample on clips that are not trained on."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jax.experimental import multihost_utils

from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.training.parallel import DataParallel
from v2s_jax.training.step import DeviceBatch
from v2s_jax.types import Batch

EVAL_BITS = "held_out/bits_per_sample"
EVAL_NLL = "held_out/nats_per_sample"


class ValidationSet(NamedTuple):
    """Clips that are not trained on."""

    open: Callable[[range], Iterable[Batch]]
    """Return the batches, from the first one, with the rows that this process evaluates."""
    categories: tuple[str, ...]
    """Categories that the clips may have."""


def evaluate(
    parallel: DataParallel, params: dict[str, Any], validation: ValidationSet
) -> dict[str, float]:
    """Return nats and bits per held-out sample, and the bits of each category, as log scalars.

    Every process evaluates its rows of the batches; sums and counts are added over all processes
    and divided once.
    """
    sums = np.zeros((2, len(validation.categories)))  # NLL, samples
    for batch in validation.open(parallel.row_range):
        arrays = DeviceBatch(*parallel.shard((batch.levels, batch.features, batch.mask)))
        nll = parallel.clip_nll(params, arrays)
        category = [validation.categories.index(name) for name in batch.categories]
        np.add.at(sums[0], category, nll.astype(np.float64))
        np.add.at(sums[1], category, batch.mask.sum(axis=1))
    nll, samples = multihost_utils.process_allgather(sums[None], tiled=True).sum(axis=0)
    nll_per_sample = float(nll.sum() / samples.sum())
    by_category = {
        f"{EVAL_BITS}/{name}": float(category_nll / count * BITS_PER_NAT)
        for name, category_nll, count in zip(validation.categories, nll, samples, strict=True)
        if count
    }
    return {
        EVAL_NLL: nll_per_sample,
        EVAL_BITS: nll_per_sample * BITS_PER_NAT,
        **(by_category if len(by_category) > 1 else {}),
    }
