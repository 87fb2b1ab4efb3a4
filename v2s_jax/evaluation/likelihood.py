"""Likelihood (the paper's table 1) and conditioning gain: bits that clips cost each model.

    H = (sum of -log2 p(audio | video)) / samples

summed over clips and divided once. The gain is the cost under another clip's video less the cost
under the own video: what a model gains from seeing.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from v2s_jax.config import Config
from v2s_jax.evaluation.clips import TRAIN, Selection, scorer_input
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.scorer import Scorer, ScorerInput, samples_bar
from v2s_jax.evaluation.statistics import Estimate, derange_within_category, estimate_by_category
from v2s_jax.model.loss import BITS_PER_NAT

SMOOTHING = 0.5
"""Added to the count of each level (Krichevsky and Trofimov 1981), so that a level which never
occurs in the training clips costs finitely many bits."""
UNIFORM, UNIGRAM = "uniform", "unigram"
"""The baselines."""
FLOOR_LEVELS = {"q_levels": 256, "quantization": "linear"}
"""The levels of the floors in a dataset whose metadata does not name them."""
SHUFFLES = {"within_category": True, "over_all": False}
"""Where the other videos of the conditioning gain come from."""

OpenCache = Callable[[Model, Selection], ScoreCache]
"""Opens the file of a model's scores of clips."""
ClipBits = Float64[np.ndarray, " clips"]


@dataclass(frozen=True)
class LikelihoodRow:
    """Cross-entropy of one group of clips, its difference between models, or its regret."""

    model: str
    minus: str | None
    """The model that is subtracted, paired by clip; None where the row is no difference."""
    split: str
    category: str
    bits_per_sample: Estimate
    nats_per_sample: Estimate


@dataclass(frozen=True)
class ClipRow:
    """What one clip costs each model and baseline."""

    split: str
    clip_id: str
    category: str
    samples: int
    floor_bits: float | None
    bits: dict[str, float]


@dataclass(frozen=True)
class LikelihoodResults:
    """Table 1."""

    rows: list[LikelihoodRow]
    differences: list[LikelihoodRow]
    regret: list[LikelihoodRow]
    """Bits above the known floor of synthetic clips; empty where it is unknown."""
    clips: list[ClipRow]
    unigram_fitted_on_clips: int
    unconditional_models: list[str]


@dataclass(frozen=True)
class ConditioningRow:
    """Conditioning gain of one model on one group of clips."""

    model: str
    shuffled: str
    """One of SHUFFLES."""
    category: str
    bits_per_sample: Estimate
    nats_per_sample: Estimate
    bits_per_clip: Estimate


def evaluate_likelihood(
    models: Sequence[Model], clips: dict[str, Selection], open_cache: OpenCache, seed: int
) -> LikelihoodResults:
    """Return cross-entropy, paired differences between models, and regret.

    Args:
        models: Models with the same levels.
        clips: Clips of each split; the unigram is fitted on those of TRAIN, which must be there.
        open_cache: Opens the scores of a model on clips.
        seed: Seed of the bootstrap.
    """
    config = models[0].config
    counts = {split: level_counts(chosen, config) for split, chosen in clips.items()}
    unconditional = [model.name for model in models if not model.is_conditional]
    results = LikelihoodResults([], [], [], [], len(clips[TRAIN]), unconditional)
    for split, chosen in clips.items():
        bits = {model.name: _own_bits(model, chosen, open_cache(model, chosen)) for model in models}
        floors = _comparable_floors(models, chosen)
        all_bits = bits | {
            UNIFORM: np.array(chosen.samples) * np.log2(config.model.q_levels),
            UNIGRAM: unigram_bits(counts[split], counts[TRAIN]),
        }
        for name, amounts in all_bits.items():
            results.rows.extend(_rows(name, None, amounts, chosen, seed))
        for a, b in itertools.combinations(bits, 2):
            results.differences.extend(_rows(a, b, bits[a] - bits[b], chosen, seed))
        if floors is not None:
            for name, amounts in bits.items():
                results.regret.extend(_rows(name, None, amounts - floors, chosen, seed))
        for clip, clip_id in enumerate(chosen.clip_ids):
            floor = None if floors is None else float(floors[clip])
            of_clip = {name: float(amounts[clip]) for name, amounts in all_bits.items()}
            category, samples = chosen.categories[clip], chosen.samples[clip]
            results.clips.append(ClipRow(split, clip_id, category, samples, floor, of_clip))
    return results


def _rows(
    model: str, minus: str | None, amounts: ClipBits, clips: Selection, seed: int
) -> list[LikelihoodRow]:
    samples = np.array(clips.samples, np.float64)
    return [
        LikelihoodRow(model, minus, clips.data.split, category, bits, in_nats(bits))
        for category, bits in estimate_by_category(amounts, samples, clips.categories, seed)
    ]


def in_nats(bits: Estimate) -> Estimate:
    """Convert an estimate from bits to nats."""
    value, low, high = (
        None if end is None else end / BITS_PER_NAT for end in (bits.value, bits.low, bits.high)
    )
    return replace(bits, value=value, low=low, high=high)


def evaluate_conditioning(
    models: Sequence[Model], clips: Selection, open_cache: OpenCache, seed: int
) -> list[ConditioningRow]:
    """Return the conditioning gain of the conditional models.

    Clips without another clip of their category are left out of shuffles within categories.
    """
    rows: list[ConditioningRow] = []
    for model in (model for model in models if model.is_conditional):
        cache = open_cache(model, clips)
        own = _own_bits(model, clips, cache)
        for shuffle, within in SHUFFLES.items():
            videos = derange_within_category(clips.categories, seed, within=within)
            moved = np.flatnonzero(videos != np.arange(len(clips)))
            if not moved.size:
                continue
            title = f"{model.name}, videos shuffled {shuffle.replace('_', ' ')}"
            gain = (pair_bits(model, clips, videos, cache, title) - own)[moved]
            categories = [clips.categories[clip] for clip in moved]
            samples = np.array([clips.samples[clip] for clip in moved], np.float64)
            per_clip = estimate_by_category(gain, np.ones(len(gain)), categories, seed)
            per_sample = estimate_by_category(gain, samples, categories, seed)
            rows += [
                ConditioningRow(model.name, shuffle, category, bits, in_nats(bits), clip_bits)
                for (category, bits), (_, clip_bits) in zip(per_sample, per_clip, strict=True)
            ]
    return rows


def _own_bits(model: Model, clips: Selection, cache: ScoreCache) -> ClipBits:
    title = f"{model.name}, {clips.data.split} clips"
    return pair_bits(model, clips, np.arange(len(clips)), cache, title)


def pair_bits(
    model: Model,
    clips: Selection,
    videos: Int64[np.ndarray, " clips"],
    cache: ScoreCache,
    title: str,
) -> ClipBits:
    """Return the bits of each clip's audio under the video of the clip in `videos`.

    A video of another length is looped, or cut, to the audio's. Cached pairs are not scored again.
    """
    keys = [
        f"{own} under {clips.clip_ids[video]}"
        for own, video in zip(clips.clip_ids, videos, strict=True)
    ]
    with samples_bar(title, sum(clips.samples)) as bar:
        for shard in model.shards(clips.categories):
            left = [clip for clip in shard.members if keys[clip] not in cache]
            bar.update(sum(clips.samples[clip] for clip in set(shard.members) - set(left)))
            if not left:
                continue
            scorer = Scorer(shard.config, shard.params)
            left.sort(key=lambda clip: -clips.samples[clip])  # a batch has similar lengths
            for first in range(0, len(left), scorer.batch_size):
                batch = left[first : first + scorer.batch_size]
                inputs = [_paired_input(clips, i, int(videos[i]), shard.config) for i in batch]
                scores = scorer.score_all(inputs, bar.update)
                for clip, score in zip(batch, scores, strict=True):
                    cache.add(keys[clip], [score.bits])
    return np.array([cache[key][0] for key in keys])


def _paired_input(clips: Selection, audio: int, video: int, config: Config) -> ScorerInput:
    """Return the audio of one clip with the video of another."""
    own = scorer_input(clips[audio], config.model)
    if video == audio:
        return own
    features = scorer_input(clips[video], config.model).features
    looped = np.arange(config.clock.video_frames(len(own.levels))) % len(features)
    return own._replace(features=features[looped])


def level_counts(clips: Selection, config: Config) -> Int64[np.ndarray, "clips q_levels"]:
    """Count each clip's levels."""
    counts = [
        np.bincount(scorer_input(clips[clip], config.model).levels, minlength=config.model.q_levels)
        for clip in range(len(clips))
    ]
    return np.stack(counts)


def unigram_bits(
    counts: Int64[np.ndarray, "clips q_levels"], train: Int64[np.ndarray, "train q_levels"]
) -> ClipBits:
    """Return the cost of clips under the level frequencies of the training clips."""
    smoothed = train.sum(axis=0) + SMOOTHING
    return counts @ -np.log2(smoothed / smoothed.sum())


def _comparable_floors(models: Sequence[Model], clips: Selection) -> ClipBits | None:
    """Return the known floors where they are of the models' levels."""
    model = models[0].config.model
    levels = {"q_levels": model.q_levels, "quantization": model.quantization}
    stored = clips.data.metadata.get("floor_levels", FLOOR_LEVELS)
    return floor_bits(clips) if stored == levels else None


def floor_bits(clips: Selection) -> ClipBits | None:
    """Return the known floor of each clip, in the dataset's levels; None unless all are known."""
    floors = clips.data.metadata.get("floor_bits", {})
    if any(clip_id not in floors for clip_id in clips.clip_ids):
        return None
    return np.array([floors[clip_id] for clip_id in clips.clip_ids])
