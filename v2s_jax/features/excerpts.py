"""Loudness and onset strength as a category really has them: excerpts of the training set's curves.

A model was trained on natural curves only, such as a bark that rises within 30 ms and fades within
300. Motion has no such shapes. So it does not draw curves; it says when which excerpt is played:

    event      a video frame of an excerpt in which an onset of EVENT_ONSET or more begins, from
               which loudness rises by EVENT_RISE or more
    strike     activity rises by STRIKE or more: jump to an event, as loud among the events as
               activity is high; not before the shortest usual gap between two events is over
    rest       after motion, while the mean activity of half a second is below RESTING of its
               largest value, and that has not faded below MOVING: no onset is played; before one,
               jump to a place without onsets that continues at the same loudness
    end        of an excerpt: another one begins that starts about as loud as this one ended
    swell      a steady category, of whose excerpts at most half have an event, has no
               strikes and no rests; its loudness follows the mean activity, by SWELL of the
               distance from its median to its quantile there

A video that does not move has the excerpts as they are. A configuration stores them as text, with
one character for each value (`encode`).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from v2s_jax.config import ExtractorConfig
from v2s_jax.config.extractor import EXCERPT_ALPHABET, QUANTILES
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM, pack_controls
from v2s_jax.types import Features

EXCERPTS = 6
"""Excerpts of each category, of different clips where there are as many."""
EXCERPT_FRAMES = 32
"""Video frames of an excerpt at most: 2 s at the default clock."""
EVENT_ONSET = 0.3
"""Onset strength, 3.6 dB within one part: steady noise rises by 1 to 2."""
EVENT_RISE = 0.15
"""Of loudness, 9 dB: noise of rain and engines varies by 3 to 6."""
RISE_FRAMES = 3
"""Video frames over which an event rises, and of those before it: 0.2 s."""
STEADY_SHARE = 0.5
"""Of the excerpts of a steady category that have an event, at most."""
STRIKE = 0.125
"""Of activity, within one video frame: its speed grows by two thirds."""
GAP_PERCENTILE = 10.0
"""Of the gaps between the events of a category: the shortest usual one."""
ACTIVITY_FRAMES = 8
"""Time constant of mean activity, video frames: half a second."""
RESTING = 1 / 3
MOVING = 0.1
"""Activity: a speed of 0.075 px of a video 128 px wide; a still camera's noise is at 0."""
FADE_FRAMES = 64
"""Time constant with which the largest mean activity is forgotten, video frames: 4 s. A rest after
fast motion, at activity 0.6, ends after 7 s."""
SWELL = 0.5
MEDIAN = 0.5
"""Activity at which a steady sound has its median loudness."""
CALM_FRAMES = 6
"""Video frames that a place without onsets should have before the next one: 0.4 s."""
CHOICES = 3
"""Places that fit best, of which one is drawn, so that no two events in a row are alike."""
USUAL_MEMORY = 0.95
"""Correlation of loudness between neighbouring parts, for models that do not store it."""

Curves = Float[np.ndarray, "_ motion_dim"]


def encode(motions: Sequence[Curves]) -> str:
    """Return up to EXCERPTS excerpts of the curves of a category's clips, as text.

    Short clips are passed over if there are longer ones. Excerpts are separated by spaces; each
    has the values of all its video frames in turn.
    """
    lengths = [min(len(motion), EXCERPT_FRAMES) for motion in motions]
    long = [
        motion
        for motion, length in zip(motions, lengths, strict=True)
        if length >= np.median(lengths)
    ]
    which = np.unique(np.linspace(0, len(long) - 1, EXCERPTS).round().astype(int))
    steps = len(EXCERPT_ALPHABET) - 1
    return " ".join(
        "".join(EXCERPT_ALPHABET[level] for level in np.rint(values * steps).astype(int).ravel())
        for values in (np.clip(long[i][:EXCERPT_FRAMES], 0, 1).astype(float) for i in which)
    )


def decode(text: str) -> list[Curves]:
    """Return the excerpts that `encode` wrote."""
    steps = len(EXCERPT_ALPHABET) - 1
    values = {each: level / steps for level, each in enumerate(EXCERPT_ALPHABET)}
    return [
        np.reshape([values[each] for each in excerpt], (-1, MOTION_DIM)) for excerpt in text.split()
    ]


def draw_controls(config: ExtractorConfig, category: int, video_frames: int, seed: int) -> Features:
    """Return controls of one category, by its number, without a video.

    The same seed gives the same ones.
    """
    player = ExcerptPlayer(config, category, seed)
    motion = np.stack([player.next(None) for _ in range(video_frames)])
    assert config.categories
    weights = np.zeros((video_frames, len(config.categories)))
    weights[:, category] = 1
    loudness, onset = np.split(motion, 2, axis=1)
    return pack_controls(weights, loudness.reshape(-1), onset.reshape(-1))


class Motion(NamedTuple):
    """What excerpts follow at one video frame."""

    activity: float
    """How much moves, from 0 to 1 (`features.semantic`)."""
    rise: float
    """Of activity since the video frame before."""
    mean: float
    """Mean activity, which follows in ACTIVITY_FRAMES."""
    rests: bool
    """Whether what moved has come to rest."""


class MotionTracker:
    """Follows the activity of one shot."""

    def __init__(self) -> None:
        self._last: Motion | None = None
        self._largest = 0.0

    def update(self, activity: float) -> Motion:
        """Return the motion of the next video frame."""
        before = self._last or Motion(activity, 0.0, activity, rests=False)
        mean = before.mean + (activity - before.mean) / ACTIVITY_FRAMES
        self._largest = max(mean, self._largest * (1 - 1 / FADE_FRAMES))
        rests = self._largest > MOVING and mean < RESTING * self._largest
        self._last = Motion(activity, activity - before.activity, mean, rests)
        return self._last


class ExcerptPlayer:
    """Plays the excerpts of one category, one video frame after the other."""

    def __init__(self, config: ExtractorConfig, category: int, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        if config.control_excerpts is not None:
            excerpts = decode(config.control_excerpts[category])
        else:
            excerpts = _invent(config, category, self._random)
        excerpts = [excerpts[i] for i in self._random.permutation(len(excerpts))]
        lengths = [len(excerpt) for excerpt in excerpts]
        self._starts = np.cumsum([0, *lengths[:-1]])
        self._curves = np.concatenate(excerpts)
        loudness, onset = np.split(self._curves, 2, axis=1)
        self._first, self._last = loudness[:, 0], loudness[:, -1]
        self._is_end = np.isin(np.arange(len(loudness)) + 1, [*self._starts, len(loudness)])

        self._has_onset = onset.max(axis=1) >= EVENT_ONSET
        by_excerpt = [_find_events(excerpt) for excerpt in excerpts]
        self.is_steady = np.mean([events.size > 0 for events in by_excerpt]) <= STEADY_SHARE
        events = np.concatenate([*map(np.add, self._starts, by_excerpt)])
        peak = [loudness[event : event + RISE_FRAMES].max() for event in events]
        self._events = events[np.argsort(peak, kind="stable")]
        gaps = np.concatenate([*map(np.diff, by_excerpt)])
        self._gap = float(np.percentile(gaps, GAP_PERCENTILE)) if gaps.size else 0.0
        self._calm = _find_calm(self._has_onset, self._is_end)

        self._quantiles = config.quantiles[category][0]
        self._at, self._since_event = -1, np.inf

    def next(self, motion: Motion | None) -> Float[np.ndarray, " motion_dim"]:
        """Return the curves of the next video frame; None: no motion is known."""
        self._since_event += 1
        self._at = self._choose(motion)
        if self._at in self._events:
            self._since_event = 0
        curves = self._curves[self._at].copy()
        if self.is_steady and motion is not None:
            curves[:CONTROLS_PER_FRAME] += self._swell(motion.mean)
        return np.clip(curves, 0, 1)

    def _choose(self, motion: Motion | None) -> int:
        """Return the place among all video frames of the excerpts that is played next."""
        ended = self._at >= 0 and self._is_end[self._at]
        if motion is not None and not self.is_steady:
            if motion.rise >= STRIKE and self._since_event >= self._gap:
                return self._event(motion.activity)
            if motion.rests and self._calm.size and (ended or self._has_onset[self._at + 1]):
                return self._follow(self._calm)
        return self._follow(self._starts) if ended else self._at + 1

    def _event(self, activity: float) -> int:
        """Return an event about as loud among the events as `activity` is high."""
        count = len(self._events)
        distance = np.abs(np.arange(count) - activity * (count - 1))
        return self._draw(self._events, distance)

    def _follow(self, places: np.ndarray) -> int:
        """Return one of these places that continues at the same loudness."""
        last = self._last[max(self._at, 0)]
        return self._draw(places, np.abs(self._first[places] - last))

    def _draw(self, places: np.ndarray, distance: np.ndarray) -> int:
        nearest = places[np.argsort(distance, kind="stable")[:CHOICES]]
        return int(self._random.choice(nearest))

    def _swell(self, activity: float) -> float:
        """Return what is added to loudness; the lowest and highest quantiles are outliers."""
        at = np.linspace(0, 1, QUANTILES)[1:-1]
        here, median = np.interp([activity, MEDIAN], at, self._quantiles[1:-1])
        return SWELL * float(here - median)


def _find_events(excerpt: Curves) -> np.ndarray:
    """Return the video frames of an excerpt at which events begin."""
    loudness, onset = np.split(excerpt, 2, axis=1)
    has_onset = onset.max(axis=1) >= EVENT_ONSET
    begins = np.flatnonzero(has_onset & ~np.concatenate([[False], has_onset[:-1]]))
    rises = [
        loudness[at : at + RISE_FRAMES].max() - loudness[max(at - RISE_FRAMES, 0) : at + 1].min()
        for at in begins
    ]
    return begins[np.array(rises) >= EVENT_RISE] if begins.size else begins


def _find_calm(has_onset: np.ndarray, is_end: np.ndarray) -> np.ndarray:
    """Return the places with CALM_FRAMES without onsets, or with as many as there are."""
    calm = (~has_onset).astype(int)
    for at in reversed(range(len(calm) - 1)):
        if calm[at] and not is_end[at]:
            calm[at] += calm[at + 1]
    return np.flatnonzero(calm >= max(1, min(CALM_FRAMES, calm.max())))


def _invent(config: ExtractorConfig, category: int, random: np.random.Generator) -> list[Curves]:
    """Return an excerpt with the range and the pace of a category whose own are not stored.

    z(p)      = r z(p - 1) + sqrt(1 - r^2) e(p),  e ~ N(0, 1), r as neighbouring parts correlate
    loudness  = the category's quantile at Phi(z)
    onset     = the category's quantile at the rank of the rise of loudness among all parts
    """
    from scipy.special import ndtr  # slow to import, and only this function needs it

    loudness_range, onset_range = config.quantiles[category]
    memory = config.control_memory[category] if config.control_memory else USUAL_MEMORY
    noise = random.normal(size=EXCERPTS * EXCERPT_FRAMES * CONTROLS_PER_FRAME)
    noise[1:] *= np.sqrt(1 - memory**2)
    z = np.array([*itertools.accumulate(noise, lambda before, new: memory * before + new)])
    at = np.linspace(0, 1, len(loudness_range))
    loudness = np.interp(ndtr(z), at, loudness_range)
    rise = np.maximum(np.diff(loudness, prepend=loudness[0]), 0)
    rank = np.searchsorted(np.sort(rise), rise, side="right")
    onset = np.interp((rank - 0.5) / len(rise), at, onset_range)
    frames = (curve.reshape(-1, CONTROLS_PER_FRAME) for curve in (loudness, onset))
    return [np.concatenate([*frames], axis=1)]
