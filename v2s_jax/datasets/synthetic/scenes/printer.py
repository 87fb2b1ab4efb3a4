"""Printer: a dot-matrix head on a carriage between stops, and paper that is fed between two runs.

    rest -> feed (0.12 s: the paper moves up a line) -> run: speed up (0.05 s), even speed,
    slow down (0.05 s) -> knock against the stop -> rest

The stepper motor's tone is proportional to the speed |dx/dt|, and to the inverse of the
carriage's width: a heavier carriage has a slower motor. Every ten steps the pins strike, unless the
head is over the space between two columns of text; a strike is noise through the resonances of the
head. Rollers hiss while paper moves. The stop against which the next run ends is a red flag on the
rail: where the flag is and how fast the carriage comes tell when it will knock. Nothing moves,
nothing sounds.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import Track, knock, resonant_noise
from v2s_jax.datasets.synthetic.trajectory import PAST_SEC, Trajectory, smoothstep
from v2s_jax.datasets.synthetic.voice import Formant, partials

RAMP_SEC = 0.05  # to speed up and to slow down
SPEED_PX_SEC = (150.0, 240.0)
RAIL_PX = 84.0  # length of the carriage's way
SHORTEST_RUN_PX = 34.0
REST_SEC = (0.02, 0.04, 0.15)  # before a feed: shortest, mean excess, longest
FEED_SEC = 0.12
LINE_PX = 8.0  # that the paper moves up in one feed

TONE_PX = 76.0  # steps per px of travel, times the carriage's width: 1.3 kHz at the most
TONE_PARTIALS = (1.0, 0.55, 0.0, 0.30, 0.0, 0.15)
TONE_PEAK = 0.02
STEPS_PER_STRIKE = 10.0  # 44 to 130 strikes per second
STRIKE_RMS = 0.08
HEAD = (
    Formant(1_200.0, 500.0, 0.3),
    Formant(2_240.0, 500.0, 0.6),
    Formant(3_600.0, 500.0, 1.0),
)
COLUMN_PX, SPACE_PX = 42.0, 8.0  # from one column of text to the next, and between them
FULL_LEVEL_PX_SEC = 60.0  # from this speed on tone and strikes are at their full level
FEED_RMS = 0.02  # of the rollers' hiss, through the same resonances
KNOCK_HZ = np.array([310.0, 820.0, 1_750.0])
KNOCK_AMPLITUDE = np.array([1.0, 0.7, 0.5])
KNOCK_SEC = 0.012  # decay time of the lowest part
KNOCK_PEAK = 0.20  # at the highest speed; ~ speed

CARRIAGE_PX = (14.0, 26.0)  # width
_PAPER = drawing.colour(0.12, 0.02, 0.97)


class Runs(NamedTuple):
    """The carriage's runs, each after a feed of the paper; they start before the clip."""

    start_sec: Float64[np.ndarray, " runs"]
    end_sec: Float64[np.ndarray, " runs"]
    """When the carriage knocks against the stop."""
    speed_px_sec: Float64[np.ndarray, " runs"]
    """Between the ramps; rightwards above 0."""
    from_px: float
    """Where the first run starts, along the rail."""


class Look(NamedTuple):
    """What differs between the printers of two clips."""

    carriage_px: float
    rail_y_px: float
    case: drawing.Colour
    carriage: drawing.Colour
    wall: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a printer; strikes and hiss are noise, all else follows from the state."""
    look = choose_look(context.look.stream("look"))
    runs = choose_runs(context.motion.stream("runs"), context.end_sec, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, runs, context.frame_times_sec, context.look.stream("text"))
    track, rate_hz = context.track(), context.clock.sample_rate_hz
    hear(track, look.carriage_px, runs, rate_hz, context.noise.stream("pins"))
    knock = np.rint(runs.end_sec * rate_hz)
    state = {
        "carriage_px": look.carriage_px,
        "start_sec": runs.start_sec.tolist(),
        "knock_sec": runs.end_sec.tolist(),
        "speed_px_sec": runs.speed_px_sec.tolist(),
    }
    heard = knock[(knock >= 0) & (knock < context.samples)] / rate_hz
    return Scene(painting, track, heard, state)


def choose_runs(rng: Rng, end_sec: float, at_rest: bool = False) -> Runs:
    """Draw runs until the clip is over."""
    starts, ends, speeds = [], [], []
    first = place = rng.between(0.0, RAIL_PX)
    time_sec = -PAST_SEC
    while time_sec < end_sec and not at_rest:
        time_sec += rng.waiting_time(*REST_SEC) + FEED_SEC
        room = np.array([place, RAIL_PX - place])  # to the left and to the right
        usable = np.maximum(room - SHORTEST_RUN_PX, 0.0)
        rightwards = rng.between(0.0, usable.sum()) >= usable[0]
        way_px = rng.between(SHORTEST_RUN_PX, room[int(rightwards)])
        sign = 1.0 if rightwards else -1.0
        speed = rng.between(*SPEED_PX_SEC)
        speed = min(speed, way_px / RAMP_SEC - 1.0)  # both ramps together cover speed * RAMP_SEC
        starts.append(time_sec)
        time_sec += way_px / speed + RAMP_SEC
        ends.append(time_sec)
        speeds.append(sign * speed)
        place += sign * way_px
    return Runs(np.array(starts), np.array(ends), np.array(speeds), first)


def speed_story(runs: Runs, signed: bool) -> Trajectory:
    """Return the carriage's speed in px/s; its integral is the way it has gone."""
    turns = np.stack([runs.start_sec, runs.end_sec - RAMP_SEC], axis=1).reshape(-1)
    speed = runs.speed_px_sec if signed else np.abs(runs.speed_px_sec)
    levels = np.stack([speed, np.zeros(len(speed))], axis=1).reshape(-1)
    return Trajectory(turns, np.full(len(turns), RAMP_SEC), np.concatenate([[0.0], levels]))


def place_px(runs: Runs, time_sec: np.ndarray) -> Float64[np.ndarray, " times"]:
    """Return where the carriage's middle is along the rail."""
    way = speed_story(runs, signed=True)
    before = way.integral(np.array([-PAST_SEC]))[0]
    return runs.from_px + way.integral(time_sec) - before


def fed_lines(runs: Runs, time_sec: np.ndarray) -> Float64[np.ndarray, " times"]:
    """Return how many lines of paper have been fed."""
    part = (time_sec[:, None] - (runs.start_sec - FEED_SEC)) / FEED_SEC
    return smoothstep(part).sum(axis=1)


def hear(track: Track, carriage_px: float, runs: Runs, sample_rate_hz: int, rng: Rng) -> None:
    """Add the sound of motor, pins, rollers and knocks to the track."""
    time_sec = np.arange(len(track.known)) / sample_rate_hz
    speed = speed_story(runs, signed=False)
    level = np.clip(speed.value(time_sec) / FULL_LEVEL_PX_SEC, 0.0, 1.0)
    turns = speed.integral(time_sec) * (TONE_PX / carriage_px)
    track.add(0, TONE_PEAK * level * partials(turns, TONE_PARTIALS))
    strike = (0.5 + 0.5 * np.cos(2.0 * np.pi * turns / STEPS_PER_STRIKE)) ** 2
    printing = STRIKE_RMS * level * strike * is_text(place_px(runs, time_sec))
    feeding = FEED_RMS * np.minimum(1.0, 2.0 * _feed_speed(runs, time_sec))
    noise = resonant_noise(rng, len(time_sec), HEAD, sample_rate_hz)
    track.add_texture(noise, printing + feeding)
    stop = knock(KNOCK_HZ, KNOCK_AMPLITUDE, KNOCK_SEC, sample_rate_hz)
    for end_sec, run_px_sec in zip(runs.end_sec.tolist(), runs.speed_px_sec.tolist(), strict=True):
        hit = KNOCK_PEAK * abs(run_px_sec) / SPEED_PX_SEC[1]
        track.add(round(end_sec * sample_rate_hz), hit * stop)


def is_text(place_px: Float64[np.ndarray, "*px"]) -> Float64[np.ndarray, "*px"]:
    """Return 1 along the rail where a column of text is, 0 in the space between two."""
    return (place_px % COLUMN_PX >= SPACE_PX).astype(np.float64)


def _feed_speed(runs: Runs, time_sec: np.ndarray) -> Float64[np.ndarray, " times"]:
    """Return the paper's speed over its largest."""
    part = (time_sec[:, None] - (runs.start_sec - FEED_SEC)) / FEED_SEC
    part = np.clip(part, 0.0, 1.0)
    return (4.0 * part * (1.0 - part)).sum(axis=1)


def choose_look(rng: Rng) -> Look:
    """Draw the carriage's width, the place and the colours; it stays dark in a light case."""
    return Look(
        carriage_px=rng.leading(*CARRIAGE_PX),
        rail_y_px=82.0 + rng.between(-4.0, 4.0),
        case=drawing.colour(rng.between(0.0, 1.0), 0.08, rng.between(0.72, 0.86)),
        carriage=drawing.colour(rng.between(0.0, 1.0), 0.60, rng.between(0.25, 0.38)),
        wall=drawing.colour(rng.between(0.0, 1.0), 0.25, rng.between(0.40, 0.55)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw wall and paper."""
    canvas = drawing.vertical_gradient(look.wall, 0.7 * look.wall)
    drawing.paint(canvas, drawing.rectangle(30.0, 4.0, 98.0, look.rail_y_px), _PAPER)
    return canvas


def animate(
    painting: drawing.Painting, look: Look, runs: Runs, time_sec: np.ndarray, rng: Rng
) -> None:
    """Paint the text on the paper, the case before it, the flag and the carriage."""
    rail_y = look.rail_y_px
    fed_px = LINE_PX * fed_lines(runs, time_sec)
    text = _text(rail_y, fed_px, rng)
    painting.paint(text, drawing.colour(0.6, 0.3, 0.25), drawing.pose(0.0, -fed_px))
    painting.paint(drawing.rectangle(6.0, rail_y - 24.0, 122.0, 124.0), look.case)
    slot = drawing.rectangle(10.0, rail_y - 15.0, 118.0, rail_y + 15.0)
    painting.paint(slot, drawing.colour(0.6, 0.1, 0.55))
    rail = drawing.rectangle(10.0, rail_y - 2.0, 118.0, rail_y + 2.0)
    painting.paint(rail, drawing.colour(0.6, 0.05, 0.85))
    left, half = 64.0 - 0.5 * RAIL_PX, 0.5 * look.carriage_px
    flag_x = left + flag_px(runs, half, time_sec)
    flag = drawing.box(flag_x - 2.0, rail_y + 3.0, flag_x + 2.0, rail_y + 24.0)
    painting.paint(flag, drawing.colour(0.0, 0.85, 0.85), drawing.pose(flag_x, rail_y))
    place = left + place_px(runs, time_sec)
    motion = drawing.pose(place, rail_y)
    body = drawing.box(place - half, rail_y - 13.0, place + half, rail_y + 13.0)
    painting.paint(body, look.carriage, motion)
    label = drawing.box(place - 0.5 * half, rail_y - 9.0, place + 0.5 * half, rail_y - 4.0)
    painting.paint(label, _PAPER, motion)


def flag_px(
    runs: Runs, half_carriage_px: float, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return where the flag stands along the rail: where the carriage's leading side will stop.

    It moves during the feed.
    """
    goal = place_px(runs, runs.end_sec) + half_carriage_px * np.sign(runs.speed_px_sec)
    goal = np.concatenate([[runs.from_px + half_carriage_px], goal])
    moved = smoothstep((time_sec[:, None] - runs.start_sec + FEED_SEC) / FEED_SEC)
    return goal[0] + moved @ np.diff(goal)


def _text(rail_y_px: float, fed_px: np.ndarray, rng: Rng) -> drawing.Coverage:
    """Cover columns of text; lines of random lengths move up with the paper, over it only."""
    rows = np.arange(drawing.FRAME_PX)
    count = int((fed_px.max() + rail_y_px) / LINE_PX) + 1
    ends = 40.0 + 54.0 * rng.uniforms(count)
    line_y = LINE_PX * (1.0 + np.arange(count)) - fed_px[:, None]
    across = np.clip(np.minimum(rows - 34.0, ends[:, None] - rows) + 0.5, 0.0, 1.0)
    across = across * is_text(rows - (64.0 - 0.5 * RAIL_PX))
    down = np.clip(1.5 + 0.5 - np.abs(rows[:, None] - line_y[:, None, :]), 0.0, 1.0)
    down = down * (rows[:, None] > 5.0)
    return down @ across
