"""Table 1 and the conditioning gain: what clips cost each model, and how much less for sight."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from v2s_jax.evaluation.categories import by_category
from v2s_jax.evaluation.cross_entropy import (
    floor_bits,
    level_counts,
    pair_bits,
    uniform_bits,
    unigram_bits,
)
from v2s_jax.evaluation.estimate import Estimate
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.progress import scoring_bar
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import TRAIN, Selection
from v2s_jax.evaluation.shuffling import derange_within_category
from v2s_jax.model.loss import BITS_PER_NAT

UNIFORM, UNIGRAM = "uniform", "unigram"
FLOOR_LEVELS = {"q_levels": 256, "quantization": "linear"}
"""The levels of floors in a data set that does not say of which they are."""

Keep = Callable[[Model, Selection], ScoreCache]
"""Where a model's scores of clips are kept."""
Bits = dict[str, Float64[np.ndarray, " clips"]]
"""Bits of each clip, by model or baseline."""


def likelihood_part(
    models: Sequence[Model], clips: dict[str, Selection], keep: Keep, seed: int
) -> dict[str, Any]:
    """Return table 1: cross-entropy on each split, paired differences, regret, and every clip's.

    `clips` are those of each split; the unigram is fitted on those of TRAIN, which must be there.
    """
    config = models[0].config
    counts = {split: level_counts(chosen, config) for split, chosen in clips.items()}
    part: dict[str, Any] = {"rows": [], "differences": [], "regret": [], "clips": []}
    for split, chosen in clips.items():
        bits: Bits = {m.name: _own_bits(m, chosen, keep) for m in models}
        floors = _floors(models, chosen)
        baselines: Bits = {
            UNIFORM: uniform_bits(chosen, config.model.q_levels),
            UNIGRAM: unigram_bits(counts[split], counts[TRAIN]),
        }
        part["rows"] += [
            row
            for name, amounts in (bits | baselines).items()
            for row in _rows({"model": name, "split": split}, amounts, chosen, seed)
        ]
        for a, b in itertools.combinations(bits, 2):
            head = {"model": a, "minus": b, "split": split}
            part["differences"] += _rows(head, bits[a] - bits[b], chosen, seed)
        if floors is not None:
            for name, amounts in bits.items():
                head = {"model": name, "split": split}
                part["regret"] += _rows(head, amounts - floors, chosen, seed)
        part["clips"] += _clip_rows(split, chosen, bits | baselines, floors)
    part["unigram_fitted_on_clips"] = len(clips[TRAIN])
    part["unconditional_models"] = [model.name for model in models if not model.sees]
    return part


def _own_bits(model: Model, clips: Selection, keep: Keep) -> Float64[np.ndarray, " clips"]:
    own = np.arange(len(clips))
    with scoring_bar(f"{model.name}, {clips.data.split} clips", sum(clips.samples)) as on_samples:
        return pair_bits(model, clips, own, keep(model, clips), on_samples)


def _floors(models: Sequence[Model], clips: Selection) -> Float64[np.ndarray, " clips"] | None:
    """Return the floors if they are of the models' levels."""
    model = models[0].config.model
    levels = {"q_levels": model.q_levels, "quantization": model.quantization}
    if levels != clips.data.metadata.get("floor_levels", FLOOR_LEVELS):
        return None
    return floor_bits(clips)


def _rows(
    head: dict[str, Any], amounts: Float64[np.ndarray, " clips"], clips: Selection, seed: int
) -> list[dict[str, Any]]:
    """Return amounts of bits per sample, in bits and nats, by category."""
    samples = np.array(clips.samples, np.float64)
    return [
        head | {"category": category, "clips": found.clips} | in_bits_and_nats(found)
        for category, found in by_category(amounts, samples, clips.categories, seed)
    ]


def in_bits_and_nats(found: Estimate) -> dict[str, Any]:
    """Return an estimate in both units, named so."""
    ends = {"per_sample": found.value, "low": found.low, "high": found.high}
    nats = {name: None if end is None else end / BITS_PER_NAT for name, end in ends.items()}
    return {
        **{f"bits_{name}": end for name, end in ends.items()},
        **{f"nats_{name}": end for name, end in nats.items()},
        "no_interval": found.reason,
    }


def _clip_rows(
    split: str, clips: Selection, bits: Bits, floors: Float64[np.ndarray, " clips"] | None
) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "clip_id": clips.clip_ids[clip],
            "category": clips.categories[clip],
            "samples": clips.samples[clip],
            "floor_bits": None if floors is None else float(floors[clip]),
            "bits": {name: float(amounts[clip]) for name, amounts in bits.items()},
        }
        for clip in range(len(clips))
    ]


SHUFFLES = {"within_category": True, "over_all": False}
"""Whose video a sound gets instead of its own."""


def sight_part(
    models: Sequence[Model], clips: Selection, keep: Keep, seed: int
) -> list[dict[str, Any]]:
    """Return the conditioning gain: bits under another video less bits under a clip's own.

    Of models that see. Clips that have no other of their category are left out within it.
    """
    rows: list[dict[str, Any]] = []
    for model in (model for model in models if model.sees):
        own = _own_bits(model, clips, keep)
        for shuffle, within in SHUFFLES.items():
            videos = derange_within_category(clips.categories, seed, within=within)
            moved = np.flatnonzero(videos != np.arange(len(clips)))
            if not moved.size:
                continue
            what = f"{model.name}, videos shuffled {shuffle.replace('_', ' ')}"
            with scoring_bar(what, sum(clips.samples)) as on_samples:
                other = pair_bits(model, clips, videos, keep(model, clips), on_samples)
            gain = (other - own)[moved]
            head = {"model": model.name, "shuffled": shuffle}
            rows += _gain_rows(head, gain, moved, clips, seed)
    return rows


def _gain_rows(
    head: dict[str, Any],
    gain: Float64[np.ndarray, " moved"],
    moved: np.ndarray,
    clips: Selection,
    seed: int,
) -> list[dict[str, Any]]:
    categories = [clips.categories[clip] for clip in moved]
    samples = np.array([clips.samples[clip] for clip in moved], np.float64)
    per_sample = by_category(gain, samples, categories, seed)
    per_clip = by_category(gain, np.ones(len(gain)), categories, seed)
    return [
        head
        | {"category": category, "clips": found.clips}
        | in_bits_and_nats(found)
        | {
            "bits_per_clip": of_clip.value,
            "bits_per_clip_low": of_clip.low,
            "bits_per_clip_high": of_clip.high,
        }
        for (category, found), (_, of_clip) in zip(per_sample, per_clip, strict=True)
    ]
