"""Drum: a stick whose angle is a smooth function of time, and a head that rings when it lands.

    rest -> wind-up (0.12 s) -> fall (0.20 s) -> touch at the hit time -> rebound (0.08 s) -> rest

The lift of each wind-up is proportional to the hit's strength and every fall takes equally long,
so the strength is the speed at the touch. Strength sets level and brightness, the drum's radius
sets the pitch; both can be seen. Gaps between hits are random: frames announce a hit three
video frames ahead, the sound before it does not.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import add_at, band_noise

FALL_SEC = 0.20  # three video frames of 64 ms see the stick come down
WINDUP_SEC = 0.12
REBOUND_SEC = 0.08
SHORTEST_GAP_SEC = 0.30  # leaves 0.1 s for rebound and wind-up, which then go faster
MEAN_EXCESS_GAP_SEC = 0.12
LONGEST_GAP_SEC = 1.00
WEAKEST, STRONGEST = 0.35, 0.85  # peak amplitude of a hit; a ringing tail still fits below 1
LIFT_RAD = 1.05  # of the strongest hit: 60 degrees
REST_RAD = 0.14  # 8 degrees: the stick hovers clear of the head

MODE_RATIOS = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918])
"""Frequencies of a circular membrane over its lowest: zeros of Bessel functions over 2.405."""
PITCH_HZ_PX = 5_200.0  # lowest mode = this / radius: 200 Hz for the smallest drum, 130 the largest
RING_SEC = 0.05  # decay time of the lowest mode; the others decay faster by their ratio
RING_DECAYS = 8.0  # length of a hit in decay times: -69 dB at its end
DULL_SLOPE, BRIGHT_SLOPE = 2.6, 0.8  # mode amplitude ~ ratio ** -slope, weakest and strongest hit
ATTACK_SEC = 0.004  # decay time of the stick's click
ATTACK_BAND_HZ = (1_200.0, 5_000.0)
ATTACK_SHARE = 0.25  # of the click's RMS over the strength, at its start

RADIUS_PX = (26.0, 40.0)
HEAD_TILT = 0.26  # height of the head's ellipse over its width: seen from 15 degrees above
STICK_LENGTH_PX = 62.0
STICK_RADIUS_PX = 3.2
STICK_SLOPE_RAD = 0.16  # of the stick at the touch: the hand is a little above the head
DENT_SEC = 0.10  # decay time of the head's visible dent


class Hits(NamedTuple):
    """When the stick lands and how hard; may run on after the clip, for the last fall."""

    sample: np.ndarray
    """Sample at which the sound starts."""
    strength: Float64[np.ndarray, " hits"]
    """Peak amplitude of the sound, WEAKEST to STRONGEST."""


class Look(NamedTuple):
    """What differs between the drums of two clips."""

    radius_px: float
    touch_x_px: float
    touch_y_px: float
    body: drawing.Colour
    wall: drawing.Colour
    floor: drawing.Colour
    stick: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a drum.

    The stick's click is shaped noise, scaled with the hit it belongs to: the oracle is told it.
    """
    clock, samples = context.clock, context.samples
    look = choose_look(context.look.stream("look"))
    hits = choose_hits(context.motion.stream("hits"), clock, samples, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, hits, context.frame_times_sec, clock.sample_rate_hz)
    track = context.track()
    attack = context.noise.stream("attack")
    track.add(0, strike(look.radius_px, hits, samples, clock.sample_rate_hz, attack))
    heard = hits.sample < samples
    hit_sec = hits.sample[heard] / clock.sample_rate_hz
    state = {
        "radius_px": look.radius_px,
        "hit_sec": hit_sec.tolist(),
        "strength": hits.strength[heard].tolist(),
    }
    return Scene(painting, track, hit_sec, state)


def choose_hits(rng: Rng, clock: Clock, samples: int, at_rest: bool = False) -> Hits:
    """Draw hit times and strengths until one lands after the clip; the clip starts at rest.

    At rest the first hit comes so long after the clip that not even its wind-up is seen.
    """
    onsets, strengths = [], []
    end_sec = samples / clock.sample_rate_hz + LONGEST_GAP_SEC
    time_sec = end_sec - SHORTEST_GAP_SEC if at_rest else 0.0
    while time_sec < end_sec:
        time_sec += rng.waiting_time(SHORTEST_GAP_SEC, MEAN_EXCESS_GAP_SEC, LONGEST_GAP_SEC)
        onsets.append(round(time_sec * clock.sample_rate_hz))
        strengths.append(rng.between(WEAKEST, STRONGEST))
    return Hits(np.array(onsets), np.array(strengths))


def stick_angle(
    hits: Hits, time_sec: Float64[np.ndarray, " times"], sample_rate_hz: int
) -> Float64[np.ndarray, " times"]:
    """Return the stick's angle above the touching one, in radians; 0 exactly at a hit."""
    onset_sec = hits.sample / sample_rate_hz
    following = np.searchsorted(onset_sec, time_sec)  # the first hit at or after each time
    lift = LIFT_RAD * hits.strength[following] / STRONGEST
    last_sec = np.concatenate([[-np.inf], onset_sec])[following]
    until = onset_sec[following] - time_sec
    gap = onset_sec[following] - last_sec
    pace = np.minimum(1.0, (gap - FALL_SEC) / (REBOUND_SEC + WINDUP_SEC))
    rebound = np.clip((time_sec - last_sec) / (REBOUND_SEC * pace), 0.0, 1.0)
    windup = np.clip(1.0 - (until - FALL_SEC) / (WINDUP_SEC * pace), 0.0, 1.0)
    fall = np.clip(1.0 - until / FALL_SEC, 0.0, 1.0)
    up = REST_RAD * rebound * (2.0 - rebound)
    up += (lift - REST_RAD) * windup**2 * (3.0 - 2.0 * windup)
    return up * (1.0 - fall**2)


def choose_look(rng: Rng) -> Look:
    """Draw the drum's size, place and colours; the stick stays dark on a light wall."""
    wall_hue = rng.between(0.0, 1.0)
    wall = rng.between(0.71, 0.77)
    return Look(
        radius_px=rng.leading(*RADIUS_PX),
        touch_x_px=50.0 + rng.between(-4.0, 4.0),
        touch_y_px=80.0 + rng.between(-4.0, 4.0),
        body=drawing.colour(rng.between(0.0, 1.0), 0.65, rng.between(0.40, 0.65)),
        wall=drawing.colour(wall_hue, 0.05, wall),
        floor=drawing.colour(wall_hue, 0.08, wall - 0.22),
        stick=drawing.colour(rng.between(0.03, 0.09), 0.55, rng.between(0.14, 0.22)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw what does not move: wall, floor, shell and head."""
    canvas = drawing.vertical_gradient(look.wall, look.floor)
    x, y, radius = look.touch_x_px, look.touch_y_px, look.radius_px
    depth = radius * 0.7
    tilted = radius * HEAD_TILT
    shadow, rim = 0.6 * look.floor, 0.55 * look.body
    drawing.paint(canvas, drawing.ellipse(x, y + depth + 2, radius + 5, tilted + 3), shadow)
    drawing.paint(canvas, drawing.ellipse(x, y + depth, radius, tilted), look.body)
    drawing.paint(canvas, drawing.rectangle(x - radius, y, x + radius, y + depth), look.body)
    drawing.paint(canvas, drawing.ellipse(x, y + 2, radius + 1.5, tilted + 1.5), rim)
    cream = drawing.colour(0.12, 0.10, 0.94)
    drawing.paint(canvas, drawing.ellipse(x, y, radius - 1.5, tilted - 0.5), cream)
    return canvas


def animate(
    painting: drawing.Painting, look: Look, hits: Hits, time_sec: np.ndarray, sample_rate_hz: int
) -> None:
    """Paint what moves: the head's dent, the stick, the arm."""
    x, y, radius = look.touch_x_px, look.touch_y_px, look.radius_px
    since = time_sec[:, None] - hits.sample / sample_rate_hz
    dents = np.where(since >= 0, np.exp(-np.maximum(since, 0.0) / DENT_SEC), 0.0)
    dent = np.clip(dents @ (hits.strength / STRONGEST), 0.0, 1.0)
    hollow = drawing.ellipse(x, y, 0.6 * radius, 0.6 * radius * HEAD_TILT)
    painting.paint(dent[:, None, None] * hollow, drawing.colour(0.1, 0.2, 0.45))
    tip_angle = stick_angle(hits, time_sec, sample_rate_hz) - STICK_SLOPE_RAD
    # The bar's round end, not its axis, touches the head: the axis ends one radius above it.
    hand_x = x + STICK_LENGTH_PX * np.cos(STICK_SLOPE_RAD)
    hand_y = y - STICK_RADIUS_PX - STICK_LENGTH_PX * np.sin(STICK_SLOPE_RAD)
    tip_x = hand_x - STICK_LENGTH_PX * np.cos(tip_angle)
    tip_y = hand_y - STICK_LENGTH_PX * np.sin(tip_angle)
    stick = drawing.bar(hand_x, hand_y, tip_x, tip_y, STICK_RADIUS_PX)
    painting.paint(stick, look.stick, drawing.pose(hand_x, hand_y, tip_angle))
    skin = drawing.colour(0.07, 0.45, 0.62)
    edge = float(drawing.FRAME_PX)
    painting.paint(drawing.bar(hand_x, hand_y, edge + 10, hand_y + 14, 6.0), skin)


def ring(
    radius_px: float, strength: float, sample_rate_hz: int, attack: Float64[np.ndarray, " attack"]
) -> Float64[np.ndarray, " samples"]:
    """Return one hit: the membrane's modes and the stick's click, peaking at the strength."""
    time_sec = np.arange(round(RING_SEC * RING_DECAYS * sample_rate_hz)) / sample_rate_hz
    loudness = (strength - WEAKEST) / (STRONGEST - WEAKEST)
    amplitude = MODE_RATIOS ** -(DULL_SLOPE + loudness * (BRIGHT_SLOPE - DULL_SLOPE))
    hit = np.zeros_like(time_sec)
    for ratio, mode in zip(MODE_RATIOS, amplitude, strict=True):
        pitch_hz = ratio * PITCH_HZ_PX / radius_px
        if pitch_hz < sample_rate_hz / 2:
            length = round(len(time_sec) / ratio)
            t = time_sec[:length]
            hit[:length] += mode * np.exp(-ratio * t / RING_SEC) * np.sin(2 * np.pi * pitch_hz * t)
    hit /= np.abs(hit).max()
    click_sec = np.arange(len(attack)) / sample_rate_hz
    add_at(hit, 0, ATTACK_SHARE * (0.3 + 0.7 * loudness) * attack * np.exp(-click_sec / ATTACK_SEC))
    return strength * hit / np.abs(hit).max()


def strike(
    radius_px: float, hits: Hits, samples: int, sample_rate_hz: int, rng: Rng
) -> Float64[np.ndarray, " samples"]:
    """Sum all hits of a clip."""
    track = np.zeros(samples)
    length = round(ATTACK_SEC * RING_DECAYS * sample_rate_hz)
    for sample, strength in zip(hits.sample.tolist(), hits.strength.tolist(), strict=True):
        if sample < samples:
            attack = band_noise(rng, length, *ATTACK_BAND_HZ, sample_rate_hz)
            add_at(track, sample, ring(radius_px, strength, sample_rate_hz, attack))
    return track
