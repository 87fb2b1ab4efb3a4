"""Waveforms that several tests of the evaluation share."""

import functools

import numpy as np

from v2s_jax.config import TINY
from v2s_jax.datasets.synthetic.generator import SyntheticClip, make_clip
from v2s_jax.evaluation.clips import Label, ReferenceClips, requantize

RATE_HZ = TINY.clock.sample_rate_hz
NO_TIMES = np.empty(0)


@functools.cache
def synthetic_clips(
    category: str, split: str, count: int, video_frames: int, probe: str = "none"
) -> tuple[SyntheticClip, ...]:
    """The first clips of a category."""
    return tuple(
        make_clip(category, split, index, 0, TINY.clock, video_frames, probe)
        for index in range(count)
    )


def noise(seed: int, level: float, samples: int = 32_768) -> np.ndarray:
    """White Gaussian noise."""
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def reference_clips(clips: list[SyntheticClip], probe: str = "none") -> ReferenceClips:
    """Clips with their labels and reference audio."""
    return ReferenceClips(
        "synthetic_mini",
        [clip.clip_id for clip in clips],
        [clip.category for clip in clips],
        [requantize(clip.waveform, TINY.model) for clip in clips],
        [Label(clip.events_sec, dict(clip.state)) for clip in clips],
        probe,
        TINY,
        0,
        "no features",
    )
