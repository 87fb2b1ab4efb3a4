"""Loudness and onset strength as a category really has them: excerpts of the training set's curves.

A model has only heard natural curves, such as a bark that rises within 30 ms and dies away within
300. Motion has no such shapes. So it does not draw curves; it says when which excerpt is played:

    event        a video frame of an excerpt with an onset of EVENT_ONSET or more
    strike       a rise of activity of STRIKE or more: jump to an event, as loud among the events as
                 activity is high; not before the shortest usual gap between two events is over
    stillness    while the mean activity of the last half second is below RESTLESS of the largest
                 before, which fades, events are passed over, for a place between events that goes
                 on as loud as it was; a video in which nothing ever moves has them all
    end          of an excerpt: another one begins, as loud as this one ended
    swell        a category without events follows the mean activity, by SWELL of the distance from
                 its median loudness to its quantile there

A configuration stores each excerpt as text, with one character for each value (`encode`).
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from v2s_jax.config import ExtractorConfig
from v2s_jax.config.extractor import EXCERPT_ALPHABET
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM, pack_controls
from v2s_jax.types import Features

EXCERPTS = 6
"""Excerpts of each category, of different clips where there are as many."""
EXCERPT_FRAMES = 32
"""Video frames of an excerpt at most: 2 s at the default clock."""
EVENT_ONSET = 0.3
"""Onset strength, 3.6 dB within one part: steady noise rises by 1 to 2."""
STRIKE = 0.125
"""Of activity, within one video frame: its speed grows by two thirds."""
GAP_PERCENTILE = 10.0
"""Of the gaps between the events of a category: the shortest usual one."""
RESTLESS = 1 / 3
ACTIVITY_FRAMES = 8
"""Time constant of mean activity, video frames: half a second."""
FADE_FRAMES = 64
"""Time constant with which the largest mean activity is forgotten, video frames: 4 s."""
SWELL = 0.5
TAIL_FRAMES = 6
"""Video frames that an excerpt must have left where it is entered, if any has: 0.4 s."""
CHOICES = 3
"""Places that fit best, of which one is drawn, so that no two events in a row are alike."""

MEDIAN = 0.5
"""Activity at which a steady sound has its median loudness."""
USUAL_MEMORY = 0.95
"""Correlation of loudness between neighbouring parts, for models that do not store it."""

Curves = Float[np.ndarray, "_ motion_dim"]


def encode(motions: Sequence[Curves]) -> str:
    """Return up to EXCERPTS excerpts of the curves of a category's clips, as text.

    Excerpts are separated by spaces; each has the values of all its video frames in turn.
    """
    which = np.unique(np.linspace(0, len(motions) - 1, EXCERPTS).round().astype(int))
    steps = len(EXCERPT_ALPHABET) - 1
    return " ".join(
        "".join(EXCERPT_ALPHABET[level] for level in np.rint(values * steps).astype(int).ravel())
        for values in (np.clip(motions[i][:EXCERPT_FRAMES], 0, 1).astype(float) for i in which)
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
    motion = np.stack([player.next(None, 0.0) for _ in range(video_frames)])
    assert config.categories
    weights = np.zeros((video_frames, len(config.categories)))
    weights[:, category] = 1
    loudness, onset = np.split(motion, 2, axis=1)
    return pack_controls(weights, loudness.reshape(-1), onset.reshape(-1))


class ExcerptPlayer:
    """Plays the excerpts of one category, one video frame after the other."""

    def __init__(self, config: ExtractorConfig, category: int, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        if config.control_excerpts is not None:
            excerpts = decode(config.control_excerpts[category])
        else:
            excerpts = _invent(config, category, self._random)
        excerpts = [excerpts[i] for i in self._random.permutation(len(excerpts))]
        self._curves = np.concatenate(excerpts)
        loudness, onset = np.split(self._curves, 2, axis=1)
        self._first, self._last = loudness[:, 0], loudness[:, -1]

        lengths = [len(excerpt) for excerpt in excerpts]
        left = np.concatenate([np.arange(length, 0, -1) for length in lengths])
        self._is_end = left == 1
        has_onset = onset.max(axis=1) >= EVENT_ONSET
        self._is_event = has_onset & ~np.roll(has_onset, 1)
        self._starts = np.cumsum([0, *lengths[:-1]])
        self._calm = _with_most(np.flatnonzero(~self._is_event), _calm(self._is_event, left))
        events = _with_most(np.flatnonzero(self._is_event), left)
        peak = [loudness[i : i + left[i]][:TAIL_FRAMES].max() for i in events]
        self._events = events[np.argsort(peak, kind="stable")]
        gaps = np.diff(np.flatnonzero(self._is_event))
        self._gap = float(np.percentile(gaps, GAP_PERCENTILE)) if gaps.size else 0.0

        self._quantiles = config.quantiles[category][0]
        self._at, self._since_event = -1, np.inf
        self._activity: float | None = None  # its mean
        self._largest = 0.0

    def next(self, activity: float | None, rise: float) -> Float[np.ndarray, " motion_dim"]:
        """Return the curves of the next video frame, by its activity, if known, and its rise."""
        if activity is not None:
            before = activity if self._activity is None else self._activity
            self._activity = before + (activity - before) / ACTIVITY_FRAMES
            self._largest = max(self._activity, self._largest * (1 - 1 / FADE_FRAMES))
        is_still = self._activity is not None and self._activity < RESTLESS * self._largest
        self._since_event += 1
        ended = self._at >= 0 and self._is_end[self._at]
        following = self._at if ended else self._at + 1
        may_strike = self._events.size and self._since_event >= self._gap
        if may_strike and activity is not None and rise >= STRIKE:
            self._at = self._event(activity)
        elif is_still and self._is_event[following]:
            self._at = self._follow(self._calm)
        elif ended:
            self._at = self._follow(self._starts)
        else:
            self._at = following
        if self._is_event[self._at]:
            self._since_event = 0
        curves = self._curves[self._at].copy()
        if not self._events.size:
            curves[:CONTROLS_PER_FRAME] += self._swell()
        return np.clip(curves, 0, 1)

    def _event(self, activity: float) -> int:
        """Return an event about as loud among the events as `activity` is high."""
        count = len(self._events)
        distance = np.abs(np.arange(count) - activity * (count - 1))
        return self._draw(self._events, distance)

    def _follow(self, places: np.ndarray) -> int:
        """Return one of these places that goes on as loud as the sound is."""
        if not places.size:
            return 0
        last = self._last[max(self._at, 0)]
        return self._draw(places, np.abs(self._first[places] - last))

    def _draw(self, places: np.ndarray, distance: np.ndarray) -> int:
        nearest = places[np.argsort(distance, kind="stable")[:CHOICES]]
        return int(self._random.choice(nearest))

    def _swell(self) -> float:
        if self._activity is None:
            return 0.0
        at = np.linspace(0, 1, len(self._quantiles))
        here, median = np.interp([self._activity, MEDIAN], at, self._quantiles)
        return SWELL * float(here - median)


def _calm(is_event: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the video frames from each one to the next event or the end of its excerpt."""
    calm = left.copy()
    for i in reversed(range(len(calm) - 1)):
        if left[i] > 1:
            calm[i] = 1 if is_event[i + 1] else calm[i + 1] + 1
    return calm


def _with_most(places: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the places with TAIL_FRAMES or more video frames, or with the most that there are."""
    if not places.size:
        return places
    return places[frames[places] >= min(TAIL_FRAMES, frames[places].max())]


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
