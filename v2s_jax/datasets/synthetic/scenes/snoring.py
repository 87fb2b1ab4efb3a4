"""Snoring: a chest that rises and sinks under a blanket.

    breath in (0.9 to 1.3 s) -> breath out (0.7 to 1.0 s) -> pause (0.25 to 0.6 s)

The flow of air is the speed of the chest. On the way in the palate flutters once the flow passes
a threshold, at 30 to 75 Hz: faster with more flow, slower for a larger sleeper; air rattles in its
rhythm through the same resonances of nose and throat. On the way out the air hisses softly. A chest
that holds still is silent. The chest begins to rise about 0.1 s before the snore starts, and rises
as far as it will be loud.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.trajectory import smoothstep
from v2s_jax.datasets.synthetic.voice import Formant, harmonics

IN_SEC = (0.9, 1.3)
OUT_SEC = (0.7, 1.0)
PAUSE_SEC = (0.25, 0.2, 0.6)  # shortest, mean excess, longest: 0.35 to 0.54 breaths per second
SHALLOWEST = 0.5  # breath over the deepest

THRESHOLD = 0.35  # of the largest flow: below it the palate keeps still
FLUTTER_HZ_PX = 1_500.0  # flutter at the largest flow, times the chest's height: 75 to 45 Hz
SLOWEST = 0.5  # flutter at no flow over that at the largest
FORMANTS = (
    Formant(300.0, 100.0, 1.0),
    Formant(1_200.0, 200.0, 0.7),
    Formant(2_800.0, 300.0, 0.3),
)
HIGHEST_HZ = 5_000.0
SOURCE_SLOPE = 0.5  # a flutter is nearly a train of pulses
SNORE_PEAK = 0.8  # of the deepest breath, about
SNORE_GAIN_SEC = 0.0036  # times the pitch: brings a pulse's peak near 1
RATTLE_RMS = 0.16  # of the deepest breath, at a pulse of the largest flow
HISS_BAND_HZ = (400.0, 1_500.0)
HISS_RMS = 0.002  # of the deepest breath, at its largest flow

CHEST_PX = (20.0, 33.0)  # height of the empty chest above the mattress
RISE_PX = 16.0  # of the deepest breath
BED_Y_PX = 98.0
BLANKET_PX = 44.0  # half its width
HEAD_X_PX, HEAD_Y_PX = 30.0, 79.0
_SHEET = drawing.colour(0.6, 0.04, 0.88)


class Breaths(NamedTuple):
    """The sleeper's breaths, one after the other."""

    start_sec: Float64[np.ndarray, " breaths"]
    in_sec: Float64[np.ndarray, " breaths"]
    out_sec: Float64[np.ndarray, " breaths"]
    depth: Float64[np.ndarray, " breaths"]
    """SHALLOWEST to 1."""


class Look(NamedTuple):
    """What differs between the sleepers of two clips."""

    chest_px: float
    x_px: float
    skin: drawing.Colour
    blanket: drawing.Colour
    wall: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a sleeper; the flutter follows from the state, air is noise."""
    look = choose_look(context.look.stream("look"))
    breaths = choose_breaths(context.motion.stream("breaths"), context.end_sec, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, breaths, context.frame_times_sec)
    rate_hz, time_sec = context.clock.sample_rate_hz, context.sample_times_sec
    track = context.track()
    track.add(0, snore(look.chest_px, breaths, time_sec, rate_hz))
    rattle = context.noise_through("rattle", FORMANTS)
    track.add_texture(rattle, rattle_level(look.chest_px, breaths, time_sec, rate_hz))
    hiss = context.noise_band("hiss", *HISS_BAND_HZ)
    track.add_texture(hiss, HISS_RMS * flow_out(breaths, time_sec))
    starts = np.ceil(snore_starts_sec(breaths) * rate_hz) / rate_hz
    state = {
        "chest_px": look.chest_px,
        "breath_sec": breaths.start_sec.tolist(),
        "depth": breaths.depth.tolist(),
    }
    return Scene(painting, track, starts[(starts >= 0) & (starts < context.end_sec)], state)


def choose_breaths(rng: Rng, end_sec: float, at_rest: bool = False) -> Breaths:
    """Draw breaths until the clip is over; it starts anywhere in one."""
    starts, ins, outs, depths = [], [], [], []
    time_sec = -rng.between(0.0, 4.0)
    while time_sec < end_sec and not at_rest:
        starts.append(time_sec)
        ins.append(rng.between(*IN_SEC))
        outs.append(rng.between(*OUT_SEC))
        depths.append(rng.between(SHALLOWEST, 1.0))
        time_sec += ins[-1] + outs[-1] + rng.waiting_time(*PAUSE_SEC)
    return Breaths(np.array(starts), np.array(ins), np.array(outs), np.array(depths))


def chest(
    breaths: Breaths, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return how far the chest has risen, 0 to 1 for the deepest breath."""
    since = time_sec[:, None] - breaths.start_sec
    up = smoothstep(since / breaths.in_sec)
    down = smoothstep((since - breaths.in_sec) / breaths.out_sec)
    return (up - down) @ breaths.depth


def _flow(part: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return the speed of a smoothstep over its largest."""
    part = np.clip(part, 0.0, 1.0)
    return 4.0 * part * (1.0 - part)


def flow_in(
    breaths: Breaths, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return the flow of air into the chest, 0 to 1; over the breath's own largest."""
    return _flow((time_sec[:, None] - breaths.start_sec) / breaths.in_sec).sum(axis=1)


def flow_out(
    breaths: Breaths, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return the flow of air out of the chest, 0 to 1 for the deepest breath."""
    since = time_sec[:, None] - breaths.start_sec - breaths.in_sec
    return _flow(since / breaths.out_sec) @ breaths.depth


def snore_starts_sec(breaths: Breaths) -> Float64[np.ndarray, " breaths"]:
    """Return when the flow passes the threshold: 4 s (1 - s) = THRESHOLD."""
    part = 0.5 * (1.0 - np.sqrt(1.0 - THRESHOLD))
    return breaths.start_sec + part * breaths.in_sec


def flutter_hz(chest_px: float, flow: np.ndarray) -> np.ndarray:
    """Return the palate's rate at a flow of 0 to 1."""
    return FLUTTER_HZ_PX / chest_px * (SLOWEST + (1.0 - SLOWEST) * flow)


class Flutter(NamedTuple):
    """The palate during one breath in."""

    mine: np.ndarray
    """The samples at which it flutters."""
    pitch_hz: Float64[np.ndarray, " fluttering"]
    turns: Float64[np.ndarray, " fluttering"]
    level: Float64[np.ndarray, " fluttering"]
    """0 to 1 for the deepest breath at its largest flow."""


def flutters(
    chest_px: float, breaths: Breaths, time_sec: np.ndarray, sample_rate_hz: int
) -> Iterator[Flutter]:
    """Yield what the palate does in each breath."""
    flow = flow_in(breaths, time_sec)
    for start, length, depth in zip(breaths.start_sec, breaths.in_sec, breaths.depth, strict=True):
        mine = (time_sec >= start) & (time_sec < start + length) & (flow > THRESHOLD)
        pitch_hz = flutter_hz(chest_px, flow[mine])
        level = depth * np.sqrt((flow[mine] - THRESHOLD) / (1.0 - THRESHOLD))
        yield Flutter(mine, pitch_hz, np.cumsum(pitch_hz) / sample_rate_hz, level)


def snore(
    chest_px: float, breaths: Breaths, time_sec: np.ndarray, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return the voice of all snores."""
    track = np.zeros(len(time_sec))
    for mine, pitch_hz, turns, level in flutters(chest_px, breaths, time_sec, sample_rate_hz):
        voice = harmonics(turns, pitch_hz, SOURCE_SLOPE, FORMANTS, sample_rate_hz, HIGHEST_HZ)
        # A pulse is as high as its partials are many: their number is inverse to the pitch.
        track[mine] = SNORE_PEAK * level * SNORE_GAIN_SEC * pitch_hz * voice
    return track


def rattle_level(
    chest_px: float, breaths: Breaths, time_sec: np.ndarray, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return the RMS of the air's noise, which comes in the flutter's pulses."""
    track = np.zeros(len(time_sec))
    for mine, _, turns, level in flutters(chest_px, breaths, time_sec, sample_rate_hz):
        pulse = 0.5 + 0.5 * np.cos(2.0 * np.pi * turns)
        track[mine] = RATTLE_RMS * level * pulse * pulse
    return track


def choose_look(rng: Rng) -> Look:
    """Draw the sleeper's size, place and colours; the blanket is light against a dark wall."""
    wall_hue = rng.between(0.55, 0.75)
    return Look(
        chest_px=rng.leading(*CHEST_PX),
        x_px=76.0 + rng.between(-4.0, 4.0),
        skin=drawing.colour(rng.between(0.03, 0.08), 0.40, rng.between(0.70, 0.90)),
        blanket=drawing.colour(rng.between(0.0, 1.0), 0.40, rng.between(0.65, 0.85)),
        wall=drawing.colour(wall_hue, 0.45, rng.between(0.18, 0.30)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw what does not move: wall, moon, pillow and head."""
    canvas = drawing.vertical_gradient(look.wall, 0.7 * look.wall)
    moon = drawing.colour(0.14, 0.20, 0.90)
    drawing.paint(canvas, drawing.ellipse(104.0, 20.0, 9.0, 9.0), moon)
    drawing.paint(canvas, drawing.ellipse(108.0, 17.0, 8.0, 8.0), look.wall)
    drawing.paint(canvas, drawing.ellipse(24.0, BED_Y_PX - 2.0, 21.0, 10.0), _SHEET)
    drawing.paint(canvas, drawing.ellipse(HEAD_X_PX, HEAD_Y_PX, 15.0, 14.0), look.skin)
    nose = drawing.ellipse(HEAD_X_PX + 3.0, HEAD_Y_PX - 14.0, 3.5, 4.5)
    drawing.paint(canvas, nose, look.skin)
    eye_x, eye_y = HEAD_X_PX - 7.0, HEAD_Y_PX - 8.0
    eye = drawing.bar(eye_x, eye_y, eye_x + 5.0, eye_y - 1.0, 1.0)
    drawing.paint(canvas, eye, drawing.colour(0.05, 0.5, 0.3))
    return canvas


def animate(painting: drawing.Painting, look: Look, breaths: Breaths, time_sec: np.ndarray) -> None:
    """Paint what moves, mouth and blanket, and the bed in front of them."""
    x, height = look.x_px, look.chest_px + RISE_PX * chest(breaths, time_sec)
    since = time_sec[:, None] - breaths.start_sec
    gape = _flow(since / breaths.in_sec) @ breaths.depth
    mouth_x, mouth_y = HEAD_X_PX + 11.0, HEAD_Y_PX - 4.0
    lip_x, lip_y = 2.0 + 3.0 * gape, 1.5 + 4.5 * gape
    throat = drawing.ellipse(mouth_x, mouth_y, lip_x, lip_y)
    lips = drawing.pose(mouth_x, mouth_y, 0.0, lip_x, lip_y)
    painting.paint(throat, drawing.colour(0.98, 0.6, 0.25), lips)
    risen = drawing.pose(x, BED_Y_PX, 0.0, 1.0, height)
    painting.paint(drawing.ellipse(x, BED_Y_PX, BLANKET_PX, height), look.blanket, risen)
    for stripe in (-22.0, 0.0, 22.0):  # they show how the blanket moves
        top = 0.96 * height * np.sqrt(1.0 - (stripe / BLANKET_PX) ** 2)
        left, right = x + stripe - 3.0, x + stripe + 3.0
        band = drawing.box(left, BED_Y_PX - top, right, BED_Y_PX)
        painting.paint(band, 0.75 * look.blanket, risen)
    # The bed hides the lower half of the blanket.
    painting.paint(drawing.rectangle(-1.0, BED_Y_PX, 129.0, 129.0), 0.6 * look.wall)
    wood = drawing.colour(0.07, 0.5, 0.40)
    painting.paint(drawing.rectangle(2.0, BED_Y_PX, 126.0, BED_Y_PX + 14.0), _SHEET)
    painting.paint(drawing.rectangle(-1.0, BED_Y_PX + 12.0, 129.0, BED_Y_PX + 20.0), wood)
    painting.paint(drawing.rectangle(-1.0, BED_Y_PX - 30.0, 5.0, 129.0), wood)
