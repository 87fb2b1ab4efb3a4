"""Chainsaw: an engine whose rate shakes the saw, and a bar that is let down on a log.

    bar up -> let down (0.24 s) -> bites, cuts -> lifted (0.24 s) -> bar up

A two-stroke engine fires once per turn: its sound is harmonics of rpm / 60, 58 Hz idling to
150 Hz at full throttle, through the resonances of a body, and the noise of an exhaust pipe, which
swells once per turn; a larger saw sounds lower. Throttle moves smoothly between random levels, down
to a stopped engine, which is silent; the smoke shows it, and so does the shaking, whose extent is
~ rate and whose phase is the engine's. In the log the engine loses up to a fifth of its rate, saw
dust flies, and the exhaust is louder. The bar falls for almost four video frames before it bites.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import Track, filtered_noise
from v2s_jax.datasets.synthetic.trajectory import (
    PAST_SEC,
    Trajectory,
    bump,
    sample_trajectory,
    smoothstep,
)
from v2s_jax.datasets.synthetic.voice import Formant, harmonics

IDLE_HZ, FULL_HZ = 58.0, 150.0  # 3,500 and 9,000 turns per minute
OFF_SHARE, IDLE_SHARE = 0.10, 0.10  # of the levels that the throttle is set to
LOWEST_CUTTING_HZ = 85.0  # of the other levels
THROTTLE_SEC = 0.30  # from one level to the next
HOLD_SEC = (0.50, 0.40, 1.60)  # from one change to the next: shortest, mean excess, longest

DOWN_SEC, UP_SEC = 0.24, 0.24
CUT_SEC = (0.25, 0.70)
GAP_SEC = (0.55, 0.25, 1.40)  # from the end of a cut to the next bite
DIP = 0.22  # share of its rate that the engine loses in the log
DIP_SEC = 0.12  # time that it takes to lose or regain it

BODY_HZ_PX = 25_000.0  # engine's resonance = this / length of the saw's body: 890 to 625 Hz
SOURCE_SLOPE = 0.45
HIGHEST_HZ = 6_000.0
ENGINE_GAIN = 0.38  # brings the sum of partials near a peak of 1
ENGINE_PEAK = 0.30  # at full rate
PIPE_HZ_PX = (102_000.0, 51_000.0)  # resonances of the exhaust, over the length of the body
PIPE_WIDTHS_HZ, PIPE_GAINS = (900.0, 300.0), (1.0, 0.5)
EXHAUST_RMS = 0.052  # at full rate, at the moment of the stroke
ROAR_SHARE = 0.3  # of the exhaust's level that stays between two strokes
CUT_GAIN = 0.25  # share that the exhaust gains deep in the log
BITE_BAND_HZ = (1_500.0, 6_000.0)
BITE_SEC = 0.02  # decay time of the bite's burst
BITE_RMS = 0.17  # at its start, at full rate
SLOWEST_BITE_HZ = 30.0  # an engine slower than that stops in the log

BODY_PX = (28.0, 40.0)  # length of the saw's body
RAISED_RAD = 0.62  # of the bar above its place at the bite
SUNK_RAD = 0.10  # of the bar below it, deep in the log
BITE_X_PX = 28.0
BAR_PX = 52.0
SHAKE_PX = 2.2  # at full rate
DUST_PER_SEC = 160.0
DUST_SEC = 0.32  # that a chip of wood flies
DUST_RADIUS_PX = 1.4
DUST_FALL_PX_SEC2 = 700.0


class Cuts(NamedTuple):
    """When the bar bites and when it leaves the log."""

    start_sec: Float64[np.ndarray, " cuts"]
    end_sec: Float64[np.ndarray, " cuts"]


class Look(NamedTuple):
    """What differs between the saws of two clips."""

    body_px: float
    bite_y_px: float
    body: drawing.Colour
    sky: drawing.Colour
    grass: drawing.Colour
    bark: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a chainsaw; the engine follows from the state, all else heard is noise."""
    rate_hz, time_sec = context.clock.sample_rate_hz, context.sample_times_sec
    look = choose_look(context.look.stream("look"))
    throttle = choose_throttle(context.motion.stream("throttle"), context.end_sec, context.at_rest)
    cuts = choose_cuts(context.motion.stream("cuts"), context.end_sec, context.at_rest)
    painting = context.painting(draw_background(look))
    chips = context.motion.stream("dust")
    animate(painting, look, throttle, cuts, context.frame_times_sec, chips)
    track = context.track()
    track.add(0, engine(look.body_px, throttle, cuts, time_sec, rate_hz))
    rate = engine_hz(throttle, cuts, time_sec) / FULL_HZ
    stroke = 0.5 + 0.5 * np.cos(2.0 * np.pi * engine_turns(throttle, cuts, time_sec))
    exhaust = context.noise_through("exhaust", pipe(look.body_px))
    roar = ROAR_SHARE + (1.0 - ROAR_SHARE) * stroke**2
    cutting = 1.0 + CUT_GAIN * depth(cuts, time_sec)
    track.add_texture(exhaust, EXHAUST_RMS * engine_level(rate * FULL_HZ) * roar * cutting)
    bites = np.rint(cuts.start_sec * rate_hz).astype(int)
    bites = bites[(bites >= 0) & (bites < context.samples)]
    bites = bites[rate[bites] * FULL_HZ > SLOWEST_BITE_HZ]
    for sample in bites.tolist():
        bite(track, sample, rate[sample], rate_hz, context.noise.stream(f"bite {sample}"))
    state = {
        "body_px": look.body_px,
        "bite_sec": cuts.start_sec.tolist(),
        "leave_sec": cuts.end_sec.tolist(),
        "engine_hz": engine_hz(throttle, cuts, context.frame_times_sec).tolist(),
    }
    return Scene(painting, track, bites / rate_hz, state)


def bite(track: Track, sample: int, rate: float, sample_rate_hz: int, rng: Rng) -> None:
    """Add the burst of noise with which the teeth meet the log."""
    length = round(8.0 * BITE_SEC * sample_rate_hz)
    decay = np.exp(-np.arange(length) / (BITE_SEC * sample_rate_hz))
    burst = filtered_noise(rng, length, *BITE_BAND_HZ, sample_rate_hz)
    track.add_texture(burst, BITE_RMS * rate * decay, sample)


def choose_throttle(rng: Rng, end_sec: float, at_rest: bool = False) -> Trajectory:
    """Draw the engine's rates without a log, in Hz."""

    def level(rng: Rng) -> float:
        kind = rng.between(0.0, 1.0)
        cutting = rng.between(LOWEST_CUTTING_HZ, FULL_HZ)
        if kind < OFF_SHARE or at_rest:
            return 0.0
        return IDLE_HZ if kind < OFF_SHARE + IDLE_SHARE else cutting

    return sample_trajectory(rng, end_sec, level, THROTTLE_SEC, HOLD_SEC)


def choose_cuts(rng: Rng, end_sec: float, at_rest: bool = False) -> Cuts:
    """Draw cuts until the clip is over."""
    starts, ends = [], []
    time_sec = -PAST_SEC
    while time_sec < end_sec + DOWN_SEC and not at_rest:
        time_sec += rng.waiting_time(*GAP_SEC)
        starts.append(time_sec)
        time_sec += rng.between(*CUT_SEC)
        ends.append(time_sec)
    return Cuts(np.array(starts), np.array(ends))


def load(cuts: Cuts, time_sec: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, " times"]:
    """Return how hard the log brakes the engine, 0 to 1."""
    into = smoothstep((time_sec[:, None] - cuts.start_sec) / DIP_SEC)
    return (into - smoothstep((time_sec[:, None] - cuts.end_sec) / DIP_SEC)).sum(axis=1)


def depth(cuts: Cuts, time_sec: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, " times"]:
    """Return how deep the bar is in the log, 0 to 1."""
    since = time_sec[:, None] - cuts.start_sec
    length = cuts.end_sec - cuts.start_sec
    return bump(since, 0.08, 0.08, length - 0.16).sum(axis=1)


def bar_angle(cuts: Cuts, time_sec: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, " times"]:
    """Return the bar's angle above the bite's, in radians; 0 at a bite, below 0 in the log."""
    fall = np.clip((time_sec[:, None] - cuts.start_sec + DOWN_SEC) / DOWN_SEC, 0.0, 1.0)
    back = smoothstep((time_sec[:, None] - cuts.end_sec) / UP_SEC)
    down = (fall**2 - back).sum(axis=1)
    return RAISED_RAD * (1.0 - down) - SUNK_RAD * depth(cuts, time_sec)


def engine_hz(
    throttle: Trajectory, cuts: Cuts, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return the engine's turns per second."""
    return np.maximum(throttle.value(time_sec), 0.0) * (1.0 - DIP * load(cuts, time_sec))


def engine_turns(
    throttle: Trajectory, cuts: Cuts, time_sec: Float64[np.ndarray, " times"]
) -> Float64[np.ndarray, " times"]:
    """Return the engine's turns since the clip's start; the step is 1/8 ms."""
    grid_sec = np.arange(0.0, time_sec[-1] + 2.5e-4, 1.25e-4)
    rate = engine_hz(throttle, cuts, grid_sec)
    turns = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * 1.25e-4)])
    return np.interp(time_sec, grid_sec, turns)


def engine_level(rate_hz: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " samples"]:
    """Return how loud an engine of this rate is, over one at full rate; below 0.25 idle: 0."""
    return rate_hz * np.clip(rate_hz / IDLE_HZ * 2.0 - 0.5, 0.0, 1.0) / FULL_HZ


def engine(
    body_px: float, throttle: Trajectory, cuts: Cuts, time_sec: np.ndarray, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return the engine's sound."""
    rate_hz = engine_hz(throttle, cuts, time_sec)
    running = rate_hz > 0.25 * IDLE_HZ  # slower than that the engine is out
    body_hz = BODY_HZ_PX / body_px
    formants = (Formant(body_hz, 150.0, 1.0), Formant(4.3 * body_hz, 300.0, 0.3))
    turns = engine_turns(throttle, cuts, time_sec)[running]
    voice = harmonics(turns, rate_hz[running], SOURCE_SLOPE, formants, sample_rate_hz, HIGHEST_HZ)
    track = np.zeros(len(time_sec))
    track[running] = ENGINE_PEAK * ENGINE_GAIN * engine_level(rate_hz[running]) * voice
    return track


def pipe(body_px: float) -> list[Formant]:
    """Return the resonances of the exhaust."""
    shape = zip(PIPE_HZ_PX, PIPE_WIDTHS_HZ, PIPE_GAINS, strict=True)
    return [Formant(hz_px / body_px, width_hz, gain) for hz_px, width_hz, gain in shape]


def choose_look(rng: Rng) -> Look:
    """Draw size, place and colours; saw and log are darker than the sky."""
    return Look(
        body_px=rng.leading(*BODY_PX),
        bite_y_px=78.0 + rng.between(-3.0, 3.0),
        body=drawing.colour(rng.between(-0.02, 0.12), 0.85, rng.between(0.70, 0.90)),
        sky=drawing.colour(rng.between(0.45, 0.6), 0.15, rng.between(0.70, 0.85)),
        grass=drawing.colour(rng.between(0.22, 0.36), 0.40, rng.between(0.45, 0.58)),
        bark=drawing.colour(rng.between(0.05, 0.09), 0.55, rng.between(0.25, 0.38)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw sky and grass."""
    canvas = drawing.vertical_gradient(look.sky, look.grass)
    drawing.paint(canvas, drawing.rectangle(-1.0, 112.0, 129.0, 129.0), look.grass)
    return canvas


def animate(
    painting: drawing.Painting,
    look: Look,
    throttle: Trajectory,
    cuts: Cuts,
    time_sec: np.ndarray,
    rng: Rng,
) -> None:
    """Paint smoke, bar, log, saw and dust."""
    bite_x, bite_y = BITE_X_PX, look.bite_y_px
    rate = engine_hz(throttle, cuts, time_sec) / FULL_HZ
    shake = SHAKE_PX * rate * np.sin(2.0 * np.pi * engine_turns(throttle, cuts, time_sec))
    angle = bar_angle(cuts, time_sec)
    # The saw turns about its handle, right of the log; at the bite the bar is level.
    grip_x, grip_y = BITE_X_PX + BAR_PX, bite_y - 4.0
    pose = drawing.pose(grip_x, grip_y + shake, angle)
    cos, sin = np.cos(angle), np.sin(angle)

    def at(along: float, above: float) -> tuple[np.ndarray, np.ndarray]:
        return (
            grip_x - along * cos + above * sin,
            grip_y + shake - along * sin - above * cos,
        )

    smoke = drawing.colour(0.6, 0.03, 0.55)
    for age in (0.0, 0.5, 1.0):
        puff = drawing.ellipse(
            grip_x + 14.0 + 8.0 * age,
            grip_y - 26.0 - 14.0 * age,
            0.5 + 9.0 * rate,
            0.5 + 8.0 * rate,
        )
        painting.paint(0.6 * puff * rate[:, None, None], smoke)
    steel = drawing.colour(0.6, 0.05, 0.35)
    painting.paint(drawing.bar(*at(0.0, 0.0), *at(BAR_PX + 8.0, 0.0), 4.5), steel, pose)
    shine = drawing.colour(0.6, 0.05, 0.85)
    painting.paint(drawing.bar(*at(0.0, 0.0), *at(BAR_PX + 7.0, 0.0), 2.0), shine, pose)
    # The log is in front of the bar.
    painting.paint(drawing.ellipse(bite_x, bite_y + 26.0, 26.0, 25.0), look.bark)
    wood = drawing.colour(0.10, 0.40, 0.80)
    painting.paint(drawing.ellipse(bite_x, bite_y + 26.0, 21.0, 20.0), wood)
    painting.paint(drawing.ellipse(bite_x, bite_y + 26.0, 11.0, 10.0), 0.85 * wood)
    length = look.body_px
    body = drawing.bar(*at(-0.1 * length, 2.0), *at(-0.75 * length, 2.0), 0.32 * length)
    painting.paint(body, look.body, pose)
    black = drawing.colour(0.0, 0.0, 0.10)
    top = 0.34 * length
    handle = drawing.bar(*at(0.15 * length, top + 8.0), *at(-0.6 * length, top + 8.0), 2.4)
    painting.paint(handle, black, pose)
    post = drawing.bar(*at(0.15 * length, top + 8.0), *at(0.1 * length, top - 6.0), 2.4)
    painting.paint(post, black, pose)
    frame, now, then = _dust(throttle, cuts, time_sec, rng, (bite_x + 14.0, bite_y))
    dust = drawing.dots(len(time_sec), frame, now[:, 0], now[:, 1], DUST_RADIUS_PX)

    def motion() -> drawing.Motion:
        return drawing.dots_motion(len(time_sec), frame, now, then, DUST_RADIUS_PX)

    painting.paint(dust, drawing.colour(0.12, 0.30, 0.95), motion)


def _dust(
    throttle: Trajectory, cuts: Cuts, time_sec: np.ndarray, rng: Rng, start: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the chips of wood in sight: frame, (x, y) in it and (x, y) in the next frame."""
    span_sec = PAST_SEC + time_sec[-1]
    thrown_sec = span_sec * rng.uniforms(round(DUST_PER_SEC * span_sec)) - PAST_SEC
    strength = depth(cuts, thrown_sec) * engine_hz(throttle, cuts, thrown_sec) / FULL_HZ
    kept = rng.uniforms(len(thrown_sec)) < strength
    right_px_sec = 60.0 + 110.0 * rng.uniforms(len(thrown_sec))
    up_px_sec = 90.0 * rng.uniforms(len(thrown_sec))
    age_sec = time_sec[:, None] - thrown_sec
    frame, chip = np.nonzero((age_sec >= 0.0) & (age_sec < DUST_SEC) & kept)

    def place(age_sec: np.ndarray) -> np.ndarray:
        fallen = 0.5 * DUST_FALL_PX_SEC2 * age_sec**2 - up_px_sec[chip] * age_sec
        return np.stack([start[0] + right_px_sec[chip] * age_sec, start[1] + fallen], axis=-1)

    age_sec = age_sec[frame, chip]
    next_sec = np.append(time_sec, time_sec[-1])[frame + 1]
    return frame, place(age_sec), place(age_sec + next_sec - time_sec[frame])
