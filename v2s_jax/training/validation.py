"""Evaluation while training: bits per sample on clips that are not trained on."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.training.parallel import DataParallel, gather_rows
from v2s_jax.training.step import DeviceBatch
from v2s_jax.types import Batch

EVAL_BITS = "held_out/bits_per_sample"
EVAL_NLL = "held_out/nats_per_sample"


class ValidationSet(NamedTuple):
    """Clips that are not trained on."""

    open: Callable[[range], Iterable[Batch]]
    """Return the batches, from the first, of the rows that this process scores."""
    categories: tuple[str, ...]
    """Those that the clips may be of."""


def evaluate(
    parallel: DataParallel, params: dict[str, Any], validation: ValidationSet
) -> dict[str, float]:
    """Return nats and bits per held-out sample, and the bits of each category, to be logged.

    Every process scores its own rows of the batches; sums and counts are added up over all of
    them and divided once.
    """
    sums = np.zeros((2, len(validation.categories)))  # nats, samples
    for batch in validation.open(parallel.rows):
        arrays = DeviceBatch(*parallel.split((batch.levels, batch.features, batch.mask)))
        nats = parallel.clip_nll(params, arrays)
        category = [validation.categories.index(name) for name in batch.categories]
        np.add.at(sums[0], category, nats.astype(np.float64))
        np.add.at(sums[1], category, batch.mask.sum(axis=1))
    nats, samples = gather_rows(sums[None]).sum(axis=0)
    nats_per_sample = float(nats.sum() / samples.sum())
    by_category = {
        f"{EVAL_BITS}/{name}": float(of_name / count * BITS_PER_NAT)
        for name, of_name, count in zip(validation.categories, nats, samples, strict=True)
        if count
    }
    return {
        EVAL_NLL: nats_per_sample,
        EVAL_BITS: nats_per_sample * BITS_PER_NAT,
        **(by_category if len(by_category) > 1 else {}),
    }
