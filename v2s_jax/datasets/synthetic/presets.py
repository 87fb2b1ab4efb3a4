"""Presets of the synthetic dataset: number and lengths of its clips."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, EXTRAPOLATION, SPLITS
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.errors import unknown_name_error


class VegasCount(NamedTuple):
    """The paper's figures for one category."""

    videos: int
    mean_sec: float


VEGAS = {
    "dog": VegasCount(2_785, 6.3),
    "chainsaw": VegasCount(1_824, 7.3),
    "water_flowing": VegasCount(2_924, 7.0),
    "rail_transport": VegasCount(3_259, 7.8),
    "fireworks": VegasCount(3_115, 7.0),
    "printer": VegasCount(3_673, 7.2),
    "helicopter": VegasCount(3_718, 7.8),
    "snoring": VegasCount(2_144, 5.9),
    "drum": VegasCount(2_606, 7.4),
    "baby_crying": VegasCount(2_061, 6.0),
}
"""Videos and mean length of each category (Zhou et al. 2018, figure 2): 28,109 videos."""

LENGTHS_SEC = (2, 4, 6, 8, 10)
"""VEGAS videos consist of 2-second segments."""
LENGTH_SHARES = (0.188, 0.146, 0.110, 0.065, 0.491)
"""Shares over all categories. The first three are the paper's (figure 2); it gives 55.6 % for 8 and
10 s together, divided here so that the mean is the paper's 7.05 s."""


@dataclass(frozen=True)
class Preset:
    """Number, length and categories of clips."""

    name: str
    """The preset's name."""
    train_clips: int | None
    """Clips per category in `train`; None for the paper's counts minus the test clips."""
    test_clips: int
    """Clips per category in `test`."""
    video_frames: int | None
    """Video frames per clip; 32 last 2.048 s by default. None for the paper's lengths."""
    categories: tuple[str, ...]
    extrapolation_clips: int = 0
    """Clips per category in `extrapolation`, which is omitted if 0."""
    train_clips_of: tuple[tuple[str, int], ...] = ()
    """Categories that have another number of clips in `train`, and that number."""

    def count(self, split: str, category: str) -> int:
        """Return how many clips of a category a split has."""
        if split == EXTRAPOLATION:
            return self.extrapolation_clips
        if split == "test":
            return self.test_clips
        if category in (others := dict(self.train_clips_of)):
            return others[category]
        if self.train_clips is None:
            return VEGAS[category].videos - self.test_clips
        return self.train_clips

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have clips."""
        return tuple(
            split
            for split in SPLITS
            if any(self.count(split, category) for category in self.categories)
        )

    def clips(self, split: str) -> list[tuple[str, int]]:
        """Return category and index of a split's clips, cycling through the categories."""
        counts = {category: self.count(split, category) for category in self.categories}
        return [
            (category, index)
            for index in range(max(counts.values()))
            for category, count in counts.items()
            if index < count
        ]

    def clip_video_frames(
        self, clock: Clock, seed: int, category: str, split: str, index: int
    ) -> int:
        """Return the number of whole video frames in one clip."""
        if self.video_frames is not None:
            return self.video_frames
        part = Rng(seed, category, split, index, "length").between(0.0, 1.0)
        shares = np.cumsum(length_shares(VEGAS[category].mean_sec))
        length_sec = LENGTHS_SEC[int(np.searchsorted(shares[:-1], part, "right"))]
        return int(length_sec * clock.fps)

    def longest_video_frames(self, clock: Clock) -> int:
        """Return the video frames of the longest possible clip."""
        if self.video_frames is not None:
            return self.video_frames
        return int(LENGTHS_SEC[-1] * clock.fps)


@functools.cache
def length_shares(mean_sec: float) -> np.ndarray:
    """Return the share of each length in a category with this mean.

    These are the overall shares times exp(slope * length): of all shares with this mean, the
    nearest to the overall ones in relative entropy.
    """
    lengths, shares = np.array(LENGTHS_SEC, np.float64), np.array(LENGTH_SHARES)

    def tilted(slope: float) -> np.ndarray:
        weights = shares * np.exp(slope * lengths)
        return weights / weights.sum()

    slope = brentq(lambda slope: float(tilted(slope) @ lengths) - mean_sec, -1.0, 1.0)
    return tilted(slope)


TINY = Preset("tiny", 7, 2, video_frames=32, categories=CATEGORIES, extrapolation_clips=1)
"""For tests and a first look: 100 clips."""

SMALL = Preset("small", 500, 128, video_frames=32, categories=CATEGORIES, extrapolation_clips=32)
"""For studies: 5,000 clips, and 1,280 to test on."""

FULL = Preset("full", None, 128, video_frames=None, categories=CATEGORIES, extrapolation_clips=128)
"""The counts and lengths of VEGAS."""

DEMO = Preset("demo", train_clips=320, test_clips=32, video_frames=32, categories=CATEGORIES)
"""For the pretrained checkpoints, each trained on two CPU cores in about an hour."""

PAIR = Preset("pair", train_clips=1, test_clips=1, video_frames=12, categories=("drum",))
"""Two short clips, to try a slow extractor."""

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, SMALL, FULL, DEMO, PAIR)}


def find_preset(name: str) -> Preset:
    """Return a preset by name; raise InputError with the nearest name if it is unknown."""
    if name not in PRESETS:
        raise unknown_name_error("--preset", name, PRESETS)
    return PRESETS[name]
