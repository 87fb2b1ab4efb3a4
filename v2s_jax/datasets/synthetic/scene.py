"""The interface of a category, and how to add one.

A category is one file in `scenes/` with

    render_scene(context: SceneContext) -> Scene

and a line in `generator.py`. One small physical state, drawn from the context's named random
streams, drives the painting, the track, the events and the flow:

- `context.look.stream(NAME)`: everything visible in a still image (sizes, colours, places).
  `context.motion.stream(NAME)`: what happens and when. `context.noise.stream(NAME)`: what is
  audible but invisible. NAMEs are unique within a category, because ordinary clips use one root
  for all three; probes use different roots. Draw the leading size with `rng.leading(low, high)`,
  exactly once, and derive the timbre from it: `appearance` and `extrapolation` rely on it.
- Frames show the state at `context.frame_times_sec`. Draw the still parts on a canvas
  (`drawing.vertical_gradient`, `drawing.paint`), then `painting = context.painting(canvas)` and
  `painting.paint(coverage, colour, motion)` for each layer that changes, from back to front.
  `motion` is `drawing.pose(...)` of a rigid part, or a field such as `drawing.dots_motion(...)`;
  None for a layer that stands still. Give motions even though most clips drop them.
- `track = context.track()`; `track.add(start, part)` for what follows from the state, and for
  random parts that are not Gaussian or not causal (clicks, bubbles), which an oracle knows;
  `track.add_texture(context.noise_band(...), gain)` for noise whose new part is known (`sound.py`),
  or `context.noise_through(...)` for noise of a body that rings.
  Background noise and rounding come later; keep the sum within about -0.9 to 0.9.
- `context.at_rest`: nothing moves and nothing sounds in the whole clip.
- `events_sec` are rising onset times inside the clip, at least a sample apart; empty for textures.
- `state` names the few visible quantities, in units, for the clip's label.

Everything is float64, every random number comes from `Rng`, and nothing depends on the time, on
hashing or on threads: the bytes of a clip are pinned in
`tests/datasets/synthetic/test_golden_clips.py`. Other clock rates, a single frame, and ten seconds
must work. A clip of 2 s should take 0.1 s at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.drawing import Painting
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.sound import Texture, Track, filtered_noise, resonant_noise
from v2s_jax.datasets.synthetic.voice import Formant

State = Mapping[str, float | Sequence[float]]
"""Visible quantities by name and unit, such as `radius_px`; one number each, or one per event."""


@dataclass(frozen=True)
class SceneContext:
    """The inputs of one clip."""

    look: Rng
    """Root of the random streams of what a still image shows."""
    motion: Rng
    """Root of the random streams of what happens."""
    noise: Rng
    """Root of the random streams of what is audible but invisible."""
    clock: Clock
    video_frames: int
    at_rest: bool = False
    """Nothing happens and nothing sounds."""
    with_flow: bool = False
    """Compute the exact optical flow."""

    @property
    def samples(self) -> int:
        """Samples of the clip."""
        return self.video_frames * self.clock.samples_per_video_frame

    @property
    def end_sec(self) -> float:
        """Length of the clip."""
        return self.samples / self.clock.sample_rate_hz

    @property
    def frame_times_sec(self) -> Float64[np.ndarray, " video_frames"]:
        """The times that the frames show."""
        return np.array(
            [float(self.clock.video_frame_time_sec(i)) for i in range(self.video_frames)]
        )

    @property
    def sample_times_sec(self) -> Float64[np.ndarray, " samples"]:
        """The times of the samples."""
        return np.arange(self.samples) / self.clock.sample_rate_hz

    def painting(self, background: Float64[np.ndarray, "height width 3"]) -> Painting:
        """Return a painting with this background in all frames."""
        return Painting(background, self.video_frames, self.with_flow)

    def track(self) -> Track:
        """Return a silent track of the clip's length."""
        return Track(self.samples)

    def noise_band(self, name: str, low_hz: float, high_hz: float) -> Texture:
        """Return noise between two corners, of the clip's length."""
        rng = self.noise.stream(name)
        return filtered_noise(rng, self.samples, low_hz, high_hz, self.clock.sample_rate_hz)

    def noise_through(self, name: str, formants: Sequence[Formant]) -> Texture:
        """Return noise through resonances, of the clip's length."""
        rng = self.noise.stream(name)
        return resonant_noise(rng, self.samples, formants, self.clock.sample_rate_hz)


class Scene(NamedTuple):
    """The result of a category's physics, before background noise and rounding."""

    painting: Painting
    track: Track
    events_sec: Float64[np.ndarray, " events"]
    state: State
