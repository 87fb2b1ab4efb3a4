"""Changes to the curves of controls: more or less contrast, louder or softer, earlier or later.

    loudness(p)  = clip(mean + gain x (loudness(p - k) - mean) + offset, 0, 1)
    onset(p)     = onset(p - k)

k is the shift in whole parts of a video frame. `mean` is that of the category's loudness in the
training set, as known from its quantiles: a stream cannot know the mean of what is still to come,
and gets the same curves as a whole clip. Beyond its ends a clip stays as loud, without onsets.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM

MAX_GAIN = 10.0
"""Of loudness around its mean (ours): a curve of noise then reaches silence and full loudness."""
MAX_OFFSET = 1.0
"""The whole range of loudness."""
MAX_SHIFT_MS = 10_000.0
"""Either way (ours): the length of the paper's clips."""
MS_PER_SEC = 1_000

Vector = Float16[np.ndarray, " feature_dim"]
"""Weights of the categories, loudness and onset strength of the parts of one video frame."""


class Adjustment(NamedTuple):
    """Changes to the curves of a video, a file or a category."""

    gain: float = 1.0
    """Of loudness around its mean."""
    offset: float = 0.0
    """Added to loudness."""
    shift_ms: float = 0.0
    """Positive is later."""

    def check(self) -> None:
        """Raise InputError for values out of range."""
        if not 0 <= self.gain <= MAX_GAIN:
            raise InputError(f"--loudness-gain {self.gain:g}: use a number from 0 to {MAX_GAIN:g}")
        if not abs(self.offset) <= MAX_OFFSET:
            raise InputError(
                f"--loudness-offset {self.offset:g}: use a number from -{MAX_OFFSET:g} to "
                f"{MAX_OFFSET:g}"
            )
        if not abs(self.shift_ms) <= MAX_SHIFT_MS:
            raise InputError(
                f"--controls-shift-ms {self.shift_ms:g}: use a number from -{MAX_SHIFT_MS:g} to "
                f"{MAX_SHIFT_MS:g}"
            )

    def shift_parts(self, clock: Clock) -> int:
        """Return the shift in whole parts of a video frame."""
        return round(self.shift_ms / MS_PER_SEC * float(clock.fps) * CONTROLS_PER_FRAME)

    def video_frames_ahead(self, clock: Clock) -> int:
        """Return how many later video frames the controls of one depend on."""
        return max(0, -(self.shift_parts(clock) // CONTROLS_PER_FRAME))


NO_ADJUSTMENT = Adjustment()


def adjust_controls(
    vectors: Iterable[Vector], extraction: ExtractorConfig, clock: Clock, adjustment: Adjustment
) -> Iterator[Vector]:
    """Yield the adjusted controls of each video frame; holds as many as the shift spans."""
    if adjustment == NO_ADJUSTMENT:
        yield from vectors
        return
    loudness_range = extraction.quantiles[:, 0]
    means = (loudness_range[:, 1:] + loudness_range[:, :-1]).mean(axis=1) / 2
    now, shifted = itertools.tee(vectors)
    curves = _shift((_curves(vector) for vector in shifted), adjustment.shift_parts(clock))
    for vector, (loudness, onset) in zip(now, curves, strict=False):
        weights = vector[:-MOTION_DIM].astype(np.float64)
        mean = weights @ means / (weights.sum() or 1.0)
        louder = mean + adjustment.gain * (loudness - mean) + adjustment.offset
        yield np.concatenate([weights, np.clip(louder, 0, 1), onset]).astype(np.float16)


def _curves(vector: Vector) -> Float[np.ndarray, "2 parts"]:
    """Return loudness and onset strength of the parts of a video frame."""
    return vector[-MOTION_DIM:].reshape(2, CONTROLS_PER_FRAME).astype(np.float64)


def _shift(
    curves: Iterator[Float[np.ndarray, "2 parts"]], later: int
) -> Iterator[Float[np.ndarray, "2 parts"]]:
    """Yield the curves of each video frame, then endless ones, `later` parts later."""
    # The last part of video frame i was in i + ahead, the others there or in the one before.
    ahead = -(later // CONTROLS_PER_FRAME)
    start = CONTROLS_PER_FRAME * (1 - ahead) - later
    endless = _extend(curves, max(0, 1 - ahead))
    for pair in itertools.pairwise(itertools.islice(endless, max(0, ahead - 1), None)):
        yield np.concatenate(pair, axis=1)[:, start : start + CONTROLS_PER_FRAME]


def _extend(
    curves: Iterator[Float[np.ndarray, "2 parts"]], before: int
) -> Iterator[Float[np.ndarray, "2 parts"]]:
    """Add video frames before the first one, and endless ones after the last one."""
    last = None
    for curve in curves:
        if last is None:
            yield from itertools.repeat(_hold(curve[0, 0]), before)
        yield curve
        last = curve
    if last is not None:
        yield from itertools.repeat(_hold(last[0, -1]))


def _hold(loudness: float) -> Float[np.ndarray, "2 parts"]:
    """Return curves that stay as loud, without onsets."""
    return np.repeat([[loudness], [0.0]], CONTROLS_PER_FRAME, axis=1)
