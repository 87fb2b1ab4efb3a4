"""Water flowing: a tap lets a flux Q(t) out, which falls into a bowl and is heard when it lands.

Q, from 0 (closed) to 1, moves smoothly from one random level to the next. At height y below the
spout the stream is what left it fall_time(y) earlier, so a change runs down the stream and is
seen at the spout about 0.2 s before it is heard.

The sound has two parts: splashing, a band of noise with level ~ Q, and bubbles at a rate ~ Q.
A bubble of radius r rings at Minnaert's 3.26 m/s / r and dies at 0.13 / r + 0.0072 r^-1.5 per
second while its pitch rises a little (van den Doel 2005, Physically based models for liquid
sounds). A smaller bowl splashes higher.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import add_at
from v2s_jax.datasets.synthetic.trajectory import PAST_SEC, Trajectory, sample_trajectory

GRAVITY_M_SEC2 = 9.81
SPOUT_SPEED_M_SEC = 0.6  # of the water as it leaves the tap
PX_PER_M = 190.0  # a fall of 56 px is 0.29 m

HOLD_SEC = (0.35, 0.30, 1.20)  # from one change to the next: shortest, mean excess, longest
TURN_SEC = 0.25  # time one change takes: under the shortest hold, so changes never overlap
CLOSED_SHARE = 0.25  # of the levels that the tap is turned to
LOWEST_FLOW = 0.2  # of an open tap

SPLASH_RMS = 0.11  # at Q = 1
SPLASH_LOW_HZ_PX = 18_000.0  # lower corner = this / bowl's radius: 450 to 690 Hz
SPLASH_OCTAVES = 2.5  # from the lower to the upper corner

MINNAERT_M_SEC = 3.26  # a bubble's pitch times its radius, air in water near the surface
BUBBLES_PER_SEC = 150.0  # at Q = 1
BUBBLE_RADIUS_M = (0.0009, 0.006)  # 3.6 kHz to 540 Hz
BUBBLE_PEAK = 0.22  # amplitude of the largest; ~ radius
BUBBLE_RISE = 0.1  # pitch gained per decay time (van den Doel's xi)
BUBBLE_DECAYS = 7.0  # length in decay times: -61 dB at its end

DROPS_PER_SEC = 90.0  # seen next to the stream at Q = 1; splashes likewise
DROP_RADIUS_PX = 1.5
DROP_SPREAD_PX = 9.0  # sideways reach of the drops at the bowl
SPRAY_SPEED_M_SEC = (0.45, 0.95)  # upwards, of drops that splash up: 1 to 5 cm
SPRAY_DRIFT_M_SEC = 0.35  # sideways, at most
HANDLE_LENGTH_PX = 18.0
STREAM_HALF_WIDTH_PX = 7.5  # at the spout and Q = 1


class Drops(NamedTuple):
    """Every drop in sight."""

    frame: np.ndarray
    start: Float64[np.ndarray, "dots 2"]
    """Its x and y in that frame."""
    end: Float64[np.ndarray, "dots 2"]
    """The same in the next."""


class Look(NamedTuple):
    """What differs between the taps of two clips."""

    x_px: float
    spout_y_px: float
    surface_y_px: float
    bowl_radius_px: float
    wall: drawing.Colour
    floor: drawing.Colour
    bowl: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of flowing water."""
    clock = context.clock
    look = choose_look(context.look.stream("look"))
    tap = choose_tap(context.motion.stream("tap"), context.end_sec, context.at_rest)
    time_sec = context.frame_times_sec
    painting = context.painting(draw_background(look))
    animate(painting, look, tap, time_sec, context.motion)
    landing = landing_flux(look, tap, context.sample_times_sec)
    low_hz = SPLASH_LOW_HZ_PX / look.bowl_radius_px
    corners_hz = (low_hz, low_hz * 2.0**SPLASH_OCTAVES)
    splash = context.noise_band("splash", *corners_hz)
    track = context.track()
    track.add_texture(splash, SPLASH_RMS * landing)
    track.add(0, bubbles(context.noise.stream("bubbles"), landing, clock.sample_rate_hz))
    state = {
        "bowl_radius_px": look.bowl_radius_px,
        "flux_at_pictures": flux(tap, time_sec).tolist(),
    }
    return Scene(painting, track, np.zeros(0), state)


def choose_tap(rng: Rng, end_sec: float, at_rest: bool = False) -> Trajectory:
    """Draw when the tap is turned, and how far, until the clip is over."""

    def flow(rng: Rng) -> float:
        closed = rng.between(0.0, 1.0) < CLOSED_SHARE
        open_extractor_once = rng.between(LOWEST_FLOW, 1.0)
        return 0.0 if closed or at_rest else open_extractor_once

    return sample_trajectory(rng, end_sec, flow, TURN_SEC, HOLD_SEC)


def flux(tap: Trajectory, time_sec: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return Q at the spout, 0 to 1."""
    return np.maximum(tap.value(time_sec), 0.0)  # a closed tap's sum may miss 0 by one rounding


def fall_time_sec(fallen_px: np.ndarray | float) -> Float64[np.ndarray, "*px"]:
    """Return how long water takes to fall so far from the spout."""
    fallen_m = np.maximum(fallen_px, 0.0) / PX_PER_M
    reached = np.sqrt(SPOUT_SPEED_M_SEC**2 + 2.0 * GRAVITY_M_SEC2 * fallen_m)
    return np.asarray((reached - SPOUT_SPEED_M_SEC) / GRAVITY_M_SEC2)


def landing_flux(
    look: Look, tap: Trajectory, time_sec: np.ndarray
) -> Float64[np.ndarray, " times"]:
    """Return the flux that reaches the bowl: Q one fall earlier."""
    return flux(tap, time_sec - fall_time_sec(look.surface_y_px - look.spout_y_px))


def bubbles(
    rng: Rng, landing: Float64[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Sum bubbles that appear at a rate ~ the landing flux."""
    track = np.zeros_like(landing)
    candidates = round(BUBBLES_PER_SEC * len(landing) / sample_rate_hz)
    start = (rng.uniforms(candidates) * len(landing)).astype(int)
    born = rng.uniforms(candidates) < landing[start]
    small, large = BUBBLE_RADIUS_M
    radius_m = small * (large / small) ** rng.uniforms(candidates)
    sign = np.where(rng.uniforms(candidates) < 0.5, -1.0, 1.0)
    for i in np.flatnonzero(born):
        pitch_hz = MINNAERT_M_SEC / radius_m[i]
        if pitch_hz * (1 + BUBBLE_RISE * BUBBLE_DECAYS) < sample_rate_hz / 2:
            decay_hz = 0.13 / radius_m[i] + 0.0072 * radius_m[i] ** -1.5
            decays = np.arange(int(BUBBLE_DECAYS / decay_hz * sample_rate_hz))
            decays = decays * (decay_hz / sample_rate_hz)
            turns = (pitch_hz / decay_hz) * decays * (1.0 + 0.5 * BUBBLE_RISE * decays)
            peak = sign[i] * BUBBLE_PEAK * radius_m[i] / large
            add_at(track, int(start[i]), peak * np.exp(-decays) * np.sin(2 * np.pi * turns))
    return track


def choose_look(rng: Rng) -> Look:
    """Draw the bowl's size, the place and the colours; the water stays pale on a dark wall."""
    wall_hue = rng.between(0.0, 1.0)
    wall = rng.between(0.26, 0.40)
    return Look(
        x_px=64.0 + rng.between(-6.0, 6.0),
        spout_y_px=44.0 + rng.between(-3.0, 3.0),
        surface_y_px=100.0 + rng.between(-3.0, 3.0),
        bowl_radius_px=rng.leading(26.0, 40.0),
        wall=drawing.colour(wall_hue, 0.35, wall),
        floor=drawing.colour(wall_hue, 0.30, wall + 0.12),
        bowl=drawing.colour(rng.between(0.0, 1.0), 0.45, rng.between(0.45, 0.65)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw what does not move: wall, tap, bowl and water surface."""
    canvas = drawing.vertical_gradient(look.wall, look.floor)
    x, spout, surface, radius = look.x_px, look.spout_y_px, look.surface_y_px, look.bowl_radius_px
    steel, dark_steel = drawing.colour(0.58, 0.08, 0.70), drawing.colour(0.58, 0.10, 0.45)
    drawing.paint(canvas, drawing.rectangle(-1.0, spout - 18, x + 9, spout - 8), steel)
    drawing.paint(canvas, drawing.rectangle(x - 9, spout - 18, x + 9, spout), steel)
    drawing.paint(canvas, drawing.rectangle(x - 9, spout - 2, x + 9, spout), dark_steel)
    under_rim = drawing.rectangle(x - radius, surface, x + radius, surface + radius)
    drawing.paint(canvas, under_rim * drawing.ellipse(x, surface, radius, 24.0), look.bowl)
    drawing.paint(canvas, drawing.ellipse(x, surface, radius, 8.0), 0.6 * look.bowl)
    water = drawing.colour(0.57, 0.45, 0.50)
    drawing.paint(canvas, drawing.ellipse(x, surface + 1, radius - 3, 6.0), water)
    return canvas


def animate(
    painting: drawing.Painting, look: Look, tap: Trajectory, time_sec: np.ndarray, rng: Rng
) -> None:
    """Paint what moves: handle, foam, stream, drops."""
    x, spout, surface = look.x_px, look.spout_y_px, look.surface_y_px
    handle = 0.2 + 1.2 * flux(tap, time_sec)  # radians from lying along the pipe to upright
    handle_x = x - HANDLE_LENGTH_PX * np.cos(handle)
    handle_y = spout - 20 - HANDLE_LENGTH_PX * np.sin(handle)
    red = drawing.colour(0.0, 0.6, 0.75)
    lever = drawing.bar(x, spout - 20, handle_x, handle_y, 2.5)
    painting.paint(lever, red, drawing.pose(x, spout - 20, handle))
    foam = np.sqrt(landing_flux(look, tap, time_sec))
    white = drawing.colour(0.55, 0.06, 0.96)
    spread = 1.0 + foam * 0.7 * (look.bowl_radius_px - 4.0)
    foam_cover = drawing.ellipse(x, surface + 1, spread, 0.5 + 5.0 * foam)
    painting.paint(0.75 * foam[:, None, None] * foam_cover, white)
    rows = np.arange(drawing.FRAME_PX)
    fall = fall_time_sec(rows - spout)
    # Faster water is thinner: the flux through every height is the same.
    thinning = np.sqrt(SPOUT_SPEED_M_SEC / _speed_m_sec(fall))
    stream = STREAM_HALF_WIDTH_PX * thinning * np.sqrt(flux(tap, time_sec[:, None] - fall))
    pale = drawing.colour(0.55, 0.22, 0.85)
    column = 0.9 * drawing.column(x, stream, spout + 1, surface + 1)
    painting.paint(column, pale, lambda: stream_motion(look, time_sec))
    for drops in (
        falling_drops(look, tap, time_sec, rng.stream("drops")),
        spray(look, tap, time_sec, rng.stream("spray")),
    ):
        x_px, y_px = drops.start.T
        dots = drawing.dots(len(time_sec), drops.frame, x_px, y_px, DROP_RADIUS_PX)
        painting.paint(dots, white, partial(_drops_motion, drops, len(time_sec)))


def _drops_motion(drops: Drops, video_frames: int) -> drawing.Field:
    return drawing.dots_motion(video_frames, *drops, DROP_RADIUS_PX)


def _speed_m_sec(fallen_sec: np.ndarray) -> np.ndarray:
    return SPOUT_SPEED_M_SEC + GRAVITY_M_SEC2 * fallen_sec


def _frame_gaps_sec(time_sec: np.ndarray) -> Float64[np.ndarray, " video_frames"]:
    """Return the time from each frame to the next; the last one has none."""
    return np.diff(time_sec, append=time_sec[-1])


def stream_motion(look: Look, time_sec: np.ndarray) -> drawing.Field:
    """Return how the stream's water moves: it falls, and draws together as it gets faster."""
    field = np.zeros((len(time_sec), drawing.FRAME_PX, drawing.FRAME_PX, 2))
    rows = np.arange(drawing.FRAME_PX, dtype=np.float64)
    fallen_sec = fall_time_sec(rows - look.spout_y_px)
    from_axis_px = np.arange(drawing.FRAME_PX) - look.x_px
    for i, gap_sec in enumerate(_frame_gaps_sec(time_sec)[:-1], start=1):
        before, after = _speed_m_sec(fallen_sec), _speed_m_sec(fallen_sec + gap_sec)
        narrower = np.sqrt(before / after) - 1.0
        field[i, ..., 0] = narrower[:, None] * from_axis_px
        field[i, ..., 1] = (PX_PER_M * gap_sec * 0.5 * (before + after))[:, None]
    return field


def falling_drops(look: Look, tap: Trajectory, time_sec: np.ndarray, rng: Rng) -> Drops:
    """Find the drops that fall next to the stream; a closed tap lets none go."""
    release_sec = _candidates_sec(rng, time_sec)
    kept = rng.uniforms(len(release_sec)) < flux(tap, release_sec)
    sideways_px = DROP_SPREAD_PX * (2.0 * rng.uniforms(len(release_sec)) - 1.0)
    fall_sec = fall_time_sec(look.surface_y_px - look.spout_y_px)
    age_sec = time_sec[:, None] - release_sec
    frame, drop = np.nonzero((age_sec >= 0.0) & (age_sec < fall_sec) & kept)

    def place(age_sec: np.ndarray) -> np.ndarray:
        fallen_m = SPOUT_SPEED_M_SEC * age_sec + 0.5 * GRAVITY_M_SEC2 * age_sec**2
        x = look.x_px + sideways_px[drop] * age_sec / fall_sec
        return np.stack([x, look.spout_y_px + PX_PER_M * fallen_m], 1)

    age_sec = age_sec[frame, drop]
    gap_sec = _frame_gaps_sec(time_sec)[frame]
    return Drops(frame, place(age_sec), place(age_sec + gap_sec))


def spray(look: Look, tap: Trajectory, time_sec: np.ndarray, rng: Rng) -> Drops:
    """Find the drops that splash up where the stream lands."""
    release_sec = _candidates_sec(rng, time_sec)
    kept = rng.uniforms(len(release_sec)) < landing_flux(look, tap, release_sec)
    slow, fast = SPRAY_SPEED_M_SEC
    up_m_sec = slow + (fast - slow) * rng.uniforms(len(release_sec))
    drift_m_sec = SPRAY_DRIFT_M_SEC * (2.0 * rng.uniforms(len(release_sec)) - 1.0)
    age_sec = time_sec[:, None] - release_sec
    flying = (age_sec >= 0.0) & (age_sec < 2.0 * up_m_sec / GRAVITY_M_SEC2)
    frame, drop = np.nonzero(flying & kept)

    def place(age_sec: np.ndarray) -> np.ndarray:
        risen_m = up_m_sec[drop] * age_sec - 0.5 * GRAVITY_M_SEC2 * age_sec**2
        x = look.x_px + PX_PER_M * drift_m_sec[drop] * age_sec
        return np.stack([x, look.surface_y_px - PX_PER_M * risen_m], 1)

    age_sec = age_sec[frame, drop]
    gap_sec = _frame_gaps_sec(time_sec)[frame]
    return Drops(frame, place(age_sec), place(age_sec + gap_sec))


def _candidates_sec(rng: Rng, time_sec: np.ndarray) -> Float64[np.ndarray, " drops"]:
    """Draw the instants at which an open tap would let a drop go, up to the last frame."""
    span_sec = PAST_SEC + time_sec[-1]
    return span_sec * rng.uniforms(round(DROPS_PER_SEC * span_sec)) - PAST_SEC
