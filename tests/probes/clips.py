"""Clips with four beats, whose cause is visible in one of three places.

A clip lasts 16 video frames of 32 samples. At fixed times there are four beats, each with one of
four amplitudes, its code; between them is silence. The sound is a function of the codes only, so
the entropy of a clip is 8 bits without features and 0 bits given the codes. The probes differ in
where the four codes are visible; all other features are noise.

    appearance   in the appearance of every video frame
    motion       in the motion of every video frame; appearance is fresh noise in each, so Frame
                 and Seq cannot see the codes
    foresight    in the appearance of the last video frame, after all beats: Frame, which has not
                 read it yet, cannot see the codes
"""

from typing import Literal, get_args

import numpy as np

from v2s_jax.config import Clock
from v2s_jax.types import Batch

Probe = Literal["appearance", "motion", "foresight"]
PROBES: tuple[Probe, ...] = get_args(Probe)

CLOCK = Clock(sample_rate_hz=16_000, samples_per_video_frame=32)
VIDEO_FRAMES = 16
SAMPLES = VIDEO_FRAMES * CLOCK.samples_per_video_frame
FEATURE_DIM = 24  # of appearance and of motion; 16 of them hold four one-hot codes

Q_LEVELS = 16
SILENCE = Q_LEVELS // 2
BEAT_VIDEO_FRAMES = (1, 5, 9, 13)
AMPLITUDES = (2, 4, 6, -4)  # levels; the first sample of a beat reveals its code
CODES = len(AMPLITUDES)
HALF_PERIOD = 2  # samples; a square wave

CHANCE_BITS = len(BEAT_VIDEO_FRAMES) * float(np.log2(CODES))
"""Entropy of the sound of a clip without features."""
FLOOR_BITS = 0.0
"""Entropy given the codes."""

SHOWN = 2.0  # height of a visible code above the noise
NOISE = 0.5  # standard deviation


def sound(codes: np.ndarray) -> np.ndarray:
    """Return the levels [clips samples] that codes [clips beats] make."""
    per_frame = CLOCK.samples_per_video_frame
    wave = np.where(np.arange(per_frame) // HALF_PERIOD % 2, -1, 1)
    levels = np.full((len(codes), SAMPLES), SILENCE)
    for beat, video_frame in enumerate(BEAT_VIDEO_FRAMES):
        start = video_frame * per_frame
        amplitude = np.array(AMPLITUDES)[codes[:, beat]]
        levels[:, start : start + per_frame] += amplitude[:, None] * wave
    return levels.astype(np.uint8)


def features(probe: Probe, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return appearance and motion concatenated, [clips video_frames 2 * FEATURE_DIM]."""
    shape = (len(codes), VIDEO_FRAMES, FEATURE_DIM)
    appearance, motion = (random.normal(0, NOISE, shape) for _ in range(2))
    shown = SHOWN * np.eye(CODES)[codes].reshape(len(codes), 1, -1)
    where = motion if probe == "motion" else appearance
    first = VIDEO_FRAMES - 1 if probe == "foresight" else 0
    where[:, first:, : shown.shape[-1]] += shown
    return np.concatenate([appearance, motion], axis=2).astype(np.float16)


def make_batch(
    probe: Probe, split: Literal["train", "test"], seed: int, number: int, clips: int
) -> tuple[Batch, np.ndarray]:
    """Return a batch of clips, motion included, and their codes [clips beats].

    Depends on its arguments only; no two splits share a random stream.
    """
    key = np.array([seed, ("train", "test").index(split)], np.uint64)
    random = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
    codes = random.integers(0, CODES, (clips, len(BEAT_VIDEO_FRAMES)))
    levels = sound(codes)
    index = np.arange(clips) + number * clips
    values = features(probe, codes, random)
    unnamed = ("",) * len(index)
    return Batch(levels, values, np.ones(levels.shape, bool), index, unnamed, unnamed), codes
