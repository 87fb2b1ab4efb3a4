"""What the generator gives: one clip."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from v2s_jax.datasets.synthetic.scene import State
from v2s_jax.datasets.synthetic.sound import Track


@dataclass(frozen=True)
class SyntheticClip:
    """One generated clip."""

    clip_id: str
    """Category, split and index, such as `drum-train-00012`."""
    category: str
    """VEGAS folder name of the category."""
    frames: UInt8[np.ndarray, "video_frames height width 3"]
    """RGB pictures; picture i shows the state at `clock.picture_time_sec(i)`."""
    waveform: Float32[np.ndarray, " samples"]
    """Amplitudes in [-1, 1), multiples of 1/32768, `samples_per_video_frame` to each picture."""
    events_sec: Float64[np.ndarray, " events"]
    """Rising onset times from the start of the clip; empty where nothing has an onset."""
    state: State
    """What can be seen, in numbers."""
    track: Track
    """The sound before background noise and rounding, with what an oracle knows of it."""
    flow: Float32[np.ndarray, "video_frames height width 2"] | None
    """Exact displacement (right, down) in px of what lies at a pixel of picture i - 1 until
    picture i, zero for i = 0; None unless asked for."""
