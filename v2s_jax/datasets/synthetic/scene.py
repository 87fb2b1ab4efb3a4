"""What every category takes and gives, and how a category is added.

A category is one file beside this one with

    make(setting: Setting) -> Scene

and a line in `generator.py`. One small physical state, drawn from the setting's named streams,
drives the painting, the track, the events and the flow:

- `setting.look.stream(NAME)`: all that a still picture shows (sizes, colours, places).
  `setting.motion.stream(NAME)`: what happens and when. `setting.noise.stream(NAME)`: what is heard
  and not seen. NAMEs differ within a category: ordinary clips have one root for all three, probes
  give each its own. Draw the leading size with `draws.leading(low, high)`, exactly once, and let
  the timbre follow it: probe `appearance` and the split `extrapolation` rest on it.
- Pictures show the state at `setting.picture_times_sec`. Lay the still parts on a canvas
  (`drawing.shaded`, `drawing.paint`), then `painting = setting.painting(canvas)` and
  `painting.paint(coverage, colour, motion)` for each layer that changes, from back to front.
  `motion` is `drawing.pose(...)` of a rigid part, or a field such as `drawing.dots_motion(...)`;
  None for a layer that stands still. Give motions even though most clips drop them.
- `track = setting.track()`; `track.add(start, part)` for what follows from the state, and for
  random parts that are not Gaussian or not causal (clicks, bubbles: an oracle is told them);
  `track.add_texture(coloured(...), gain)` for noise whose fresh part is known (`sound.py`).
  Background noise and rounding come later; keep the sum within about -0.9 to 0.9.
- `setting.at_rest`: nothing moves and nothing sounds, from the first picture to the last.
- `events_sec` are rising onset times inside the clip, at least a sample apart; empty for textures.
- `state` names the few numbers that can be seen, in units, for the clip's label.

Everything is float64, every random number comes from `Draws`, nothing depends on the time, on
hashing or on threads: the bytes of a clip are pinned in `tests/datasets/synthetic/test_golden_clips.py`. A clock of
another rate, one picture, and ten seconds must work. One clip of 2 s may take 0.1 s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.drawing import Painting
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.sound import Track

State = Mapping[str, float | Sequence[float]]
"""Visible quantities by name and unit, such as `radius_px`; one number each, or one per event."""


@dataclass(frozen=True)
class SceneContext:
    """What one clip is made from."""

    look: Rng
    """Root of the streams of what a still picture shows."""
    motion: Rng
    """Root of the streams of what happens."""
    noise: Rng
    """Root of the streams of what is heard and not seen."""
    clock: Clock
    video_frames: int
    at_rest: bool = False
    """Nothing happens and nothing sounds."""
    with_flow: bool = False
    """Keep the exact optical flow of the painting."""

    @property
    def samples(self) -> int:
        """Samples of the clip."""
        return self.video_frames * self.clock.samples_per_video_frame

    @property
    def end_sec(self) -> float:
        """Length of the clip."""
        return self.samples / self.clock.sample_rate_hz

    @property
    def picture_times_sec(self) -> Float64[np.ndarray, " video_frames"]:
        """The instants that the pictures show."""
        return np.array([float(self.clock.picture_time_sec(i)) for i in range(self.video_frames)])

    @property
    def sample_times_sec(self) -> Float64[np.ndarray, " samples"]:
        """The instants of the samples."""
        return np.arange(self.samples) / self.clock.sample_rate_hz

    def painting(self, background: Float64[np.ndarray, "height width 3"]) -> Painting:
        """Return a painting on one background for all pictures."""
        return Painting(background, self.video_frames, self.with_flow)

    def track(self) -> Track:
        """Return a silent track of the clip's length."""
        return Track(self.samples)


class Scene(NamedTuple):
    """What one category's physics gives, before background noise and rounding."""

    painting: Painting
    track: Track
    events_sec: Float64[np.ndarray, " events"]
    state: State
