"""Retrieval: a video is the query, sounds are ranked by how likely it makes them (paper, table 2).

    likelihood         s(v, a) = log p(a | v)
    less_log_mean      s(v, a) - log mean over queries v' of p(a | v')        (pointwise mutual
                       information: takes away what makes a sound likely under any video)
    less_mean          s(v, a) - mean over queries v' of s(v', a)
    less_unconditional s(v, a) - log p(a) of an unconditional model

A query's own sound counts as an instance, sounds of its category as its category. All sounds are
cut to one length, so sums and means over samples rank alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import logsumexp

from v2s_jax.evaluation.estimate import mean
from v2s_jax.evaluation.ranking import hit_share, reciprocal_rank

TOPS = (1, 5)
"""How many sounds may be looked at (paper, table 2)."""

RESOLUTION_NATS = 1e-3
"""Scores are rounded to this, and what is then equal is tied: they are sums over ten thousands of
samples of logarithms in float32, so less is rounding, which would order videos that are alike."""

LIKELIHOOD = "likelihood"
LESS_LOG_MEAN = "less_log_mean"
LESS_MEAN = "less_mean"
LESS_UNCONDITIONAL = "less_unconditional"
"""What sounds are ranked by."""


def score_normalizations(
    log_likelihood: Float64[np.ndarray, "queries sounds"],
    unconditional: Float64[np.ndarray, " sounds"] | None,
) -> dict[str, Float64[np.ndarray, "queries sounds"]]:
    """Return the scores by name, in nats; the last one only with an unconditional model."""
    log_mean = logsumexp(log_likelihood, axis=0) - np.log(len(log_likelihood))
    scores = {
        LIKELIHOOD: log_likelihood,
        LESS_LOG_MEAN: log_likelihood - log_mean,
        LESS_MEAN: log_likelihood - log_likelihood.mean(axis=0),
    }
    if unconditional is not None:
        scores[LESS_UNCONDITIONAL] = log_likelihood - unconditional
    return {
        name: np.round(values / RESOLUTION_NATS) * RESOLUTION_NATS
        for name, values in scores.items()
    }


def retrieval_rows(
    model: str,
    scores: dict[str, Float64[np.ndarray, "queries sounds"]],
    own: Sequence[int],
    categories: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """Return every measure of every score, with its interval over queries and its chance level.

    `own` is the sound of each query, `categories` are those of the sounds.
    """
    names = np.array(categories)
    own_category = names[None, :] == names[list(own)][:, None]
    every = np.ones_like(own_category)
    itself = np.arange(len(names))[None, :] == np.array(own)[:, None]
    asked = [("instance", "category", itself, own_category), ("instance", "all", itself, every)]
    if len(set(categories)) > 1:
        asked.append(("category", "all", own_category, every))
    return [
        {"model": model, "score": score, "right": right, "among": among} | row
        for score, values in scores.items()
        for right, among, hits, candidates in asked
        for row in _measures(values, hits, candidates, right == "instance", seed)
    ]


def _measures(
    scores: Float64[np.ndarray, "queries sounds"],
    right: Bool[np.ndarray, "queries sounds"],
    candidates: Bool[np.ndarray, "queries sounds"],
    with_ranks: bool,
    seed: int,
) -> list[dict[str, Any]]:
    measures = {f"top_{top}": _top(top) for top in TOPS}
    if with_ranks:
        measures["mean_reciprocal_rank"] = reciprocal_rank
    rows = []
    for measure, of in measures.items():
        values, chance = np.array(
            [
                (of(s[c], r[c]), of(np.zeros(np.count_nonzero(c)), r[c]))
                for s, r, c in zip(scores, right, candidates, strict=True)
            ]
        ).T
        reached = mean(values.tolist(), seed, "no query")
        rows.append(
            {
                "measure": measure,
                **{"value": reached.value, "low": reached.low, "high": reached.high},
                "no_interval": reached.reason,
                "chance": float(chance.mean()),
                "queries": len(scores),
                "sounds": float(candidates.sum(axis=1).mean()),
            }
        )
    return rows


def _top(top: int) -> Any:
    return lambda scores, right: hit_share(scores, right, top)
