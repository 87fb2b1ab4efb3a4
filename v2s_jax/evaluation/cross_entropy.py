"""Bits that clips cost a model, under their own video and under others'; every pair once.

    H = (sum of -log2 p(sound | video)) / samples

summed over clips and divided once. Own videos give the paper's table 1, other videos what sight
explains.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from v2s_jax.config import Config
from v2s_jax.datasets import waveform_from_int16
from v2s_jax.evaluation.likelihood import Scorer, Sound
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import Selection, sound_of
from v2s_jax.quantize import quantize

SMOOTHING = 0.5
"""Added to the count of each level (Krichevsky and Trofimov 1981): one never seen costs bits, not
infinitely many."""


class Pair(NamedTuple):
    """A sound under a video, both numbers of clips."""

    sound: int
    video: int


def pair_bits(
    model: Model,
    clips: Selection,
    videos: Int64[np.ndarray, " clips"],
    kept: ScoreCache,
    on_samples: Callable[[int], None],
) -> Float64[np.ndarray, " clips"]:
    """Return the bits of each clip's sound under the video of the clip in `videos`.

    A video of another length is looped, or cut, to the sound's. Pairs that are kept are not scored
    again; `on_samples` is told of all.
    """
    keys = [
        f"{clips.clip_ids[sound]} under {clips.clip_ids[video]}"
        for sound, video in enumerate(videos.tolist())
    ]
    for share in model.shares(clips.categories):
        left = [sound for sound in share.members if keys[sound] not in kept]
        on_samples(
            sum(clips.samples[i] for i in share.members) - sum(clips.samples[i] for i in left)
        )
        if not left:
            continue
        scorer = Scorer(share.config, share.params)
        left.sort(key=lambda sound: -clips.samples[sound])
        for first in range(0, len(left), scorer.batch_size):
            members = left[first : first + scorer.batch_size]
            pairs = [Pair(sound, int(videos[sound])) for sound in members]
            scored = scorer.score_all(
                [_pair(clips, pair, share.config) for pair in pairs], on_samples
            )
            for sound, score in zip(members, scored, strict=True):
                kept.add(keys[sound], [score.bits])
    return np.array([kept[key][0] for key in keys])


def _pair(clips: Selection, pair: Pair, config: Config) -> Sound:
    sound = sound_of(clips[pair.sound], config.model)
    if pair.video == pair.sound:
        return sound
    seen = sound_of(clips[pair.video], config.model).features
    wanted = np.arange(config.clock.video_frames(len(sound.levels))) % len(seen)
    return sound._replace(features=seen[wanted])


def uniform_bits(clips: Selection, q_levels: int) -> Float64[np.ndarray, " clips"]:
    """Return what each clip costs when all levels are equally likely."""
    return np.array(clips.samples) * np.log2(q_levels)


def level_counts(clips: Selection, config: Config) -> Int64[np.ndarray, "clips q_levels"]:
    """Count each clip's levels."""
    model = config.model
    return np.stack(
        [
            np.bincount(
                quantize(
                    waveform_from_int16(clips[clip].waveform), model.q_levels, model.quantization
                ),
                minlength=model.q_levels,
            )
            for clip in range(len(clips))
        ]
    )


def unigram_bits(
    counts: Int64[np.ndarray, "clips q_levels"], train: Int64[np.ndarray, "train q_levels"]
) -> Float64[np.ndarray, " clips"]:
    """Return what clips cost under the frequencies of the levels of the training clips."""
    seen = train.sum(axis=0) + SMOOTHING
    return counts @ -np.log2(seen / seen.sum())


def floor_bits(clips: Selection) -> Float64[np.ndarray, " clips"] | None:
    """Return the known floor of each clip, in the data's levels; None unless all are known."""
    floors = clips.data.metadata.get("floor_bits", {})
    if any(clip_id not in floors for clip_id in clips.clip_ids):
        return None
    return np.array([floors[clip_id] for clip_id in clips.clip_ids])
