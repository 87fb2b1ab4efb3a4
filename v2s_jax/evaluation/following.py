"""Does loudness follow what the video or the controls say? Needs no events.

    loudness(t)  = level of the waveform, as in `features.controls`, from 0 to 1
    cue(t)       controls  their loudness, four values for each video frame
                 pixels    activity of the motion, one value for each video frame
    r            = Pearson correlation of loudness(t) and cue(t) over a clip

Activity is the log of the mean speed of optical flow between two limits, as where controls are made
from a video (`features.semantic`). The control is the cue of another clip of the category, and
reference audio shows how much of its loudness the cue tells at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from v2s_jax.config import Clock
from v2s_jax.evaluation.statistics import Estimate, Waveform, mean
from v2s_jax.features.controls import CONTROLS_PER_FRAME, control_curves
from v2s_jax.features.pixels import MOTION_PX
from v2s_jax.features.semantic import FAST_PX, STILL_PX

MIN_DEVIATION = 1e-3
"""Standard deviation below which a curve from 0 to 1 is flat: rounding of half precision."""
FLAT = "every curve is flat: what does not change does not correlate"
ONE_CLIP = "1 clip: shuffling needs 2"

CueName = Literal["loudness of the controls", "motion of the video"]
Curve = Float64[np.ndarray, " steps"]


class Cues(NamedTuple):
    """What the audio of each clip should follow."""

    name: CueName
    curves: list[Float64[np.ndarray, " _"]]
    per_frame: int
    """Values for each video frame."""


@dataclass(frozen=True)
class FollowingRow:
    """Means over clips of the correlation of loudness with the cue."""

    correlation: Estimate
    shuffled: Estimate
    """With the cue of another clip of the category."""
    own_minus_shuffled: Estimate
    """Paired by clips."""


class Following(NamedTuple):
    """Correlations of one clip; None where a curve is flat."""

    own: float | None
    shuffled: float | None
    """Also None where the category has no other clip."""


def read_cues(extractor: str, motions: Sequence[Float[np.ndarray, "_ motion_dim"]]) -> Cues | str:
    """Return the cue of each clip from its motion features, or why there is none."""
    motions = [motion.astype(np.float64) for motion in motions]
    if extractor == "controls":
        curves = [motion[:, :CONTROLS_PER_FRAME].reshape(-1) for motion in motions]
        return Cues("loudness of the controls", curves, CONTROLS_PER_FRAME)
    if extractor == "pixels":
        return Cues("motion of the video", [activity(motion) for motion in motions], 1)
    return f"the motion features of {extractor} do not say how much moves"


def activity(motion: Float64[np.ndarray, "video_frames motion_dim"]) -> Curve:
    """Return how much moves in each video frame, from 0 to 1, by the motion of `pixels`."""
    speed_px = motion.sum(axis=1) / MOTION_PX**2  # four directions of each block
    return np.log(np.clip(speed_px, STILL_PX, FAST_PX) / STILL_PX) / np.log(FAST_PX / STILL_PX)


def loudness(waveform: Waveform, clock: Clock, per_frame: int) -> Curve:
    """Return the loudness of a waveform, `per_frame` values for each video frame."""
    curve, _ = control_curves(waveform, clock)
    return curve.astype(np.float64).reshape(-1, CONTROLS_PER_FRAME // per_frame).mean(axis=1)


def follow(waveform: Waveform, clock: Clock, cues: Cues, clip: int, other: int) -> Following:
    """Correlate the loudness of a clip's audio with its own cue, and with that of another clip."""
    curve = loudness(waveform, clock, cues.per_frame)
    shuffled = None if other == clip else correlate(curve, cues.curves[other])
    return Following(correlate(curve, cues.curves[clip]), shuffled)


def correlate(one: Float64[np.ndarray, " _"], other: Float64[np.ndarray, " _"]) -> float | None:
    """Return the Pearson correlation of the common beginning; None where one part is flat."""
    common = min(len(one), len(other))
    one, other = one[:common], other[:common]
    if common < 2 or min(one.std(), other.std()) < MIN_DEVIATION:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def evaluate_following(clips: Sequence[Following], seed: int) -> FollowingRow:
    """Average the correlations of clips."""
    both = [
        one.own - one.shuffled for one in clips if one.own is not None and one.shuffled is not None
    ]
    alone = FLAT if len(clips) > 1 else ONE_CLIP
    return FollowingRow(
        mean([one.own for one in clips], seed, FLAT),
        mean([one.shuffled for one in clips], seed, alone),
        mean(both, seed, alone),
    )
