"""Dog: a head that draws back, lunges and barks with an opening jaw.

    draw back (0.16 s) -> lunge (0.12 s) -> bark: the jaw opens and shuts (0.22 s), the head returns

A bark is a rough glottal source and a breath through the formants of the mouth. Pitch and formants
are inverse to the dog's size; the pitch rises as the jaw opens, and so does the first formant.
Level, pitch and formants are functions only of the visible jaw, but for a jitter of the pitch, so a
shut mouth is silent. The head starts to draw back four video frames before the bark, as far as the
bark will be strong.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import Track, filtered_noise, resonant_noise
from v2s_jax.datasets.synthetic.trajectory import bump, smoothstep
from v2s_jax.datasets.synthetic.voice import Formant, harmonics

DRAW_BACK_SEC, LUNGE_SEC = 0.16, 0.12
RETURN_SEC = 0.18
OPEN_SEC, HOLD_SEC, SHUT_SEC = 0.05, 0.04, 0.13
BARK_SEC = OPEN_SEC + HOLD_SEC + SHUT_SEC
SHORTEST_GAP_SEC = 0.48  # a lunge may not start before the last one has returned
MEAN_EXCESS_GAP_SEC = 0.20
LONGEST_GAP_SEC = 1.40
WEAKEST, STRONGEST = 0.35, 0.80  # peak amplitude of a bark, about

PITCH_HZ_PX = 5_700.0  # pitch of a nearly shut mouth = this / head's radius: 440 to 285 Hz
PITCH_RISE = 0.67  # share that the pitch gains as the jaw opens fully
JITTER, JITTER_BAND_HZ = 0.08, (20.0, 130.0)  # RMS share of the pitch: a rough voice
FIRST_FORMANT_HZ_PX = (8_500.0, 12_000.0)  # shut and open mouth, over the head's radius
HIGHER_FORMANTS_HZ_PX = (19_000.0, 31_000.0)
FORMANT_WIDTHS_HZ = (200.0, 350.0, 500.0)
FORMANT_GAINS = (1.0, 0.85, 0.7)
SOURCE_SLOPE = 1.0  # source partials ~ k ** -slope
VOICE_GAIN = 0.45  # keeps a bark's peak near its strength
BREATH_SHARE = 0.065  # RMS of the breath before the formants, over the strength, jaw fully open

HEAD_RADIUS_PX = (13.0, 20.0)  # the whole dog is five of them long, and stays in the image
JAW_RAD = 0.85  # of the strongest bark: 49 degrees
DRAW_BACK_PX, LUNGE_PX = 11.0, 9.0  # of the strongest bark


class Barks(NamedTuple):
    """When the dog barks and how hard; may run on after the clip, for the last drawing back."""

    sample: np.ndarray
    """Sample at which the sound starts."""
    strength: Float64[np.ndarray, " barks"]
    """Peak amplitude, WEAKEST to STRONGEST."""


class Look(NamedTuple):
    """What differs between the dogs of two clips."""

    radius_px: float
    x_px: float
    ground_y_px: float
    coat: drawing.Colour
    sky: drawing.Colour
    grass: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a dog; the voice follows from the state, the breath in it is noise."""
    clock, samples = context.clock, context.samples
    look = choose_look(context.look.stream("look"))
    barks = choose_barks(context.motion.stream("barks"), clock, samples, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, barks, context.frame_times_sec, clock.sample_rate_hz)
    track = context.track()
    bark_all(track, look.radius_px, barks, clock.sample_rate_hz, context.noise.stream("breath"))
    heard = barks.sample < samples
    bark_sec = barks.sample[heard] / clock.sample_rate_hz
    state = {
        "radius_px": look.radius_px,
        "bark_sec": bark_sec.tolist(),
        "strength": barks.strength[heard].tolist(),
    }
    return Scene(painting, track, bark_sec, state)


def choose_barks(rng: Rng, clock: Clock, samples: int, at_rest: bool = False) -> Barks:
    """Draw bark times and strengths until one comes after the clip; the clip starts at rest."""
    onsets, strengths = [], []
    time_sec = DRAW_BACK_SEC + LUNGE_SEC - SHORTEST_GAP_SEC
    end_sec = samples / clock.sample_rate_hz + DRAW_BACK_SEC + LUNGE_SEC
    while time_sec < end_sec and not at_rest:
        time_sec += rng.waiting_time(SHORTEST_GAP_SEC, MEAN_EXCESS_GAP_SEC, LONGEST_GAP_SEC)
        onsets.append(round(time_sec * clock.sample_rate_hz))
        strengths.append(rng.between(WEAKEST, STRONGEST))
    return Barks(np.array(onsets, int), np.array(strengths))


def jaw(since_sec: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return how far the jaw is open, 0 to 1 of its strength, so long after the bark's start."""
    return bump(since_sec, OPEN_SEC, SHUT_SEC, HOLD_SEC)


def lean(since_sec: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return the head's place over its strength: -1 drawn back, 0 at rest, 1 lunged forward."""
    back = smoothstep((since_sec + DRAW_BACK_SEC + LUNGE_SEC) / DRAW_BACK_SEC)
    forth = smoothstep((since_sec + LUNGE_SEC) / (LUNGE_SEC + 0.02))
    home = smoothstep((since_sec - 0.02) / RETURN_SEC)
    return 2.0 * forth - back - home


def bark_all(track: Track, radius_px: float, barks: Barks, sample_rate_hz: int, rng: Rng) -> None:
    """Add the sound of all barks to the track."""
    length = round(BARK_SEC * sample_rate_hz)
    level = jaw(np.arange(length) / sample_rate_hz)
    for sample, strength in zip(barks.sample.tolist(), barks.strength.tolist(), strict=True):
        if sample < len(track.known):
            mine = rng.stream(str(sample))
            jitter = filtered_noise(
                mine.stream("jitter"), length, *JITTER_BAND_HZ, sample_rate_hz
            ).values
            track.add(sample, bark(radius_px, strength, sample_rate_hz, JITTER * jitter))
            throat = formants(radius_px, strength / STRONGEST)
            breath = resonant_noise(mine.stream("breath"), length, throat, sample_rate_hz)
            track.add_texture(breath, BREATH_SHARE * strength * level, sample)


def formants(radius_px: float, wide: Float64[np.ndarray, " samples"] | float) -> list[Formant]:
    """Return the resonances of the mouth, opened to a share of the widest."""
    shut, opened = FIRST_FORMANT_HZ_PX
    centres = (shut + (opened - shut) * wide, *HIGHER_FORMANTS_HZ_PX)
    shape = zip(centres, FORMANT_WIDTHS_HZ, FORMANT_GAINS, strict=True)
    return [Formant(centre / radius_px, width_hz, gain) for centre, width_hz, gain in shape]


def bark(
    radius_px: float,
    strength: float,
    sample_rate_hz: int,
    jitter: Float64[np.ndarray, " samples"] | float = 0.0,
) -> Float64[np.ndarray, " samples"]:
    """Return the voice of one bark; its pitch is off by the share `jitter`."""
    level = jaw(np.arange(round(BARK_SEC * sample_rate_hz)) / sample_rate_hz)
    wide = level * strength / STRONGEST
    pitch_hz = PITCH_HZ_PX / radius_px * (1.0 + PITCH_RISE * wide) * (1.0 + jitter)
    turns = np.cumsum(pitch_hz) / sample_rate_hz
    throat = formants(radius_px, wide)
    voice = harmonics(turns, pitch_hz, SOURCE_SLOPE, throat, sample_rate_hz)
    return VOICE_GAIN * strength * level * voice


def choose_look(rng: Rng) -> Look:
    """Draw the dog's size, place and colours; its coat stays dark on a light sky."""
    sky_hue = rng.between(0.5, 0.65)
    return Look(
        radius_px=rng.leading(*HEAD_RADIUS_PX),
        x_px=66.0 + rng.between(-2.0, 2.0),
        ground_y_px=112.0 + rng.between(-4.0, 4.0),
        coat=drawing.colour(rng.between(0.02, 0.10), 0.55, rng.between(0.25, 0.42)),
        sky=drawing.colour(sky_hue, 0.12, rng.between(0.80, 0.92)),
        grass=drawing.colour(rng.between(0.25, 0.36), 0.40, rng.between(0.55, 0.68)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw what does not move: sky, grass, body, legs and tail."""
    r, x, ground = look.radius_px, look.x_px, look.ground_y_px
    body_y, dark = ground - 2.0 * r, 0.7 * look.coat
    canvas = drawing.vertical_gradient(look.sky, look.grass)
    drawing.paint(canvas, drawing.rectangle(-1.0, ground - 6, 129.0, 129.0), look.grass)
    tail = drawing.bar(x + 1.7 * r, body_y, x + 2.5 * r, body_y - r, 0.17 * r)
    drawing.paint(canvas, tail, dark)
    for leg, shade in ((0.2, dark), (1.5, dark), (-0.1, look.coat), (1.8, look.coat)):
        foot_x = x + leg * r
        drawing.paint(canvas, drawing.bar(foot_x, body_y, foot_x, ground, 0.24 * r), shade)
    trunk = drawing.bar(x + 0.1 * r, body_y, x + 1.6 * r, body_y, 0.75 * r)
    drawing.paint(canvas, trunk, look.coat)
    return canvas


def animate(
    painting: drawing.Painting, look: Look, barks: Barks, time_sec: np.ndarray, sample_rate_hz: int
) -> None:
    """Paint what moves: neck, jaw and head."""
    r, x = look.radius_px, look.x_px
    body_y, dark = look.ground_y_px - 2.0 * r, 0.7 * look.coat
    since = time_sec[:, None] - barks.sample / sample_rate_hz
    part = barks.strength / STRONGEST
    wide = jaw(since) @ part
    forward = lean(since) @ part
    shift = np.where(forward > 0, LUNGE_PX, DRAW_BACK_PX) * forward * r / HEAD_RADIUS_PX[1]
    head_x = x - 0.55 * r - shift
    head_y = body_y - 0.95 * r + 0.35 * shift
    neck = drawing.bar(x + 0.2 * r, body_y - 0.1 * r, head_x + 0.2 * r, head_y, 0.5 * r)
    painting.paint(neck, look.coat)
    # The mouth's inside, then the lower jaw: a bar that turns about its hinge in the cheek.
    hinge_x, hinge_y = head_x - 0.1 * r, head_y + 0.42 * r
    angle = JAW_RAD * wide
    half_cos, half_sin = np.cos(0.5 * angle), np.sin(0.5 * angle)
    throat = drawing.bar(
        hinge_x, hinge_y, hinge_x - 1.1 * r * half_cos, hinge_y + 1.1 * r * half_sin, 0.2 * r
    )
    tongue = drawing.colour(0.98, 0.65, 0.75)
    painting.paint(throat, tongue, drawing.pose(hinge_x, hinge_y, -0.5 * angle))
    chin_x, chin_y = hinge_x - 1.45 * r * np.cos(angle), hinge_y + 1.45 * r * np.sin(angle)
    lower = drawing.bar(hinge_x, hinge_y, chin_x, chin_y, 0.19 * r)
    painting.paint(lower, dark, drawing.pose(hinge_x, hinge_y, -angle))
    head = drawing.pose(head_x, head_y)
    painting.paint(drawing.ellipse(head_x, head_y, 0.95 * r, 0.85 * r), look.coat, head)
    snout_x, snout_y = head_x - 0.3 * r, head_y + 0.08 * r
    snout = drawing.bar(snout_x, snout_y, snout_x - 1.25 * r, snout_y + 0.04 * r, 0.33 * r)
    painting.paint(snout, look.coat, head)
    black, white = drawing.colour(0.0, 0.0, 0.08), drawing.colour(0.0, 0.0, 0.95)
    nose = drawing.ellipse(head_x - 1.75 * r, head_y - 0.02 * r, 0.2 * r, 0.18 * r)
    painting.paint(nose, black, head)
    ear_x, ear_y = head_x + 0.45 * r, head_y - 0.5 * r
    ear = drawing.bar(ear_x, ear_y, ear_x + 0.4 * r, ear_y + 0.85 * r, 0.27 * r)
    painting.paint(ear, dark, head)
    eye_y = head_y - 0.3 * r
    white_of_eye = drawing.ellipse(head_x - 0.35 * r, eye_y, 0.16 * r, 0.16 * r)
    painting.paint(white_of_eye, white, head)
    painting.paint(drawing.ellipse(head_x - 0.4 * r, eye_y, 0.09 * r, 0.09 * r), black, head)
