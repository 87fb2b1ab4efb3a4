"""What the generator gives: one clip, and the scene that a category's file makes of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True)
class SyntheticClip:
    """One generated clip."""

    clip_id: str
    """Category, split and index, such as `drum-train-00012`."""
    category: str
    """VEGAS folder name of the category."""
    frames: UInt8[np.ndarray, "video_frames height width 3"]
    """RGB pictures; picture i shows the state at `clock.picture_time_sec(i)`."""
    waveform: Float32[np.ndarray, "samples"]
    """Amplitudes in [-1, 1), multiples of 1/32768, `samples_per_video_frame` to each picture."""
    events_sec: Float64[np.ndarray, "events"]
    """Rising onset times from the start of the clip; empty where nothing has an onset."""


class Scene(NamedTuple):
    """What one category's physics gives, before background noise and rounding to 16 bits."""

    frames: UInt8[np.ndarray, "video_frames height width 3"]
    sound: Float64[np.ndarray, "samples"]
    events_sec: Float64[np.ndarray, "events"]
