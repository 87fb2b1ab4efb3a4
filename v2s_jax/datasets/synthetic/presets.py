"""Named sizes of the synthetic set, and the lengths of its clips."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, EXTRAPOLATION, SPLITS
from v2s_jax.datasets.synthetic.randomness import Rng


class VegasCount(NamedTuple):
    """What the paper says of one category."""

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
"""VEGAS's videos are made of 2-second segments."""
LENGTH_SHARES = (0.188, 0.146, 0.110, 0.065, 0.491)
"""Shares over all categories. The first three are the paper's (figure 2); it gives 55.6 % for 8 and
10 s together, parted here so that the mean is the paper's 7.05 s."""


@dataclass(frozen=True)
class Preset:
    """How many clips, how long, of what."""

    name: str
    """The preset's name."""
    train_clips: int | None
    """Clips per category in `train`; None for the paper's counts, less the test clips."""
    test_clips: int
    """Clips per category in `test`."""
    video_frames: int | None
    """Pictures per clip; 32 last 2.048 s under the default clock. None for the paper's lengths."""
    categories: tuple[str, ...]
    """Categories in the set."""
    extrapolation_clips: int = 0
    """Clips per category in `extrapolation`, which is not made without any."""

    def count(self, split: str, category: str) -> int:
        """Return how many clips of a category a split has."""
        if split == EXTRAPOLATION:
            return self.extrapolation_clips
        if split == "test":
            return self.test_clips
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
        """Return category and index of a split's clips, categories taking turns.

        Readers in this order see a mixture.
        """
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
        """Return the number of pictures of one clip: whole ones in its length."""
        if self.video_frames is not None:
            return self.video_frames
        part = Rng(seed, category, split, index, "length").between(0.0, 1.0)
        shares = np.cumsum(length_shares(VEGAS[category].mean_sec))
        length_sec = LENGTHS_SEC[int(np.searchsorted(shares[:-1], part, "right"))]
        return int(length_sec * clock.fps)

    def longest_video_frames(self, clock: Clock) -> int:
        """Return the most pictures that a clip can have."""
        if self.video_frames is not None:
            return self.video_frames
        return int(LENGTHS_SEC[-1] * clock.fps)


@functools.cache
def length_shares(mean_sec: float) -> np.ndarray:
    """Return the share of each length in a category of this mean: those of all, tilted.

    Shares times exp(slope * length) are the nearest to those of all (in relative entropy) that
    have the mean.
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
"""As large as VEGAS: its counts and lengths."""

DEMO = Preset("demo", train_clips=320, test_clips=32, video_frames=32, categories=CATEGORIES)
"""For the checkpoints that ship, which two CPU cores learn in about an hour each."""

PAIR = Preset("pair", train_clips=1, test_clips=1, video_frames=12, categories=("drum",))
"""Two short clips, to try a slow extractor."""

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, SMALL, FULL, DEMO, PAIR)}
