"""Baby crying: a breath in that lifts the head, then a cry with an open mouth.

    breath in (0.28 s: the head rises) -> cry (0.4 to 0.9 s: the mouth opens, trembles, shuts)

The head rises as far as the cry will be long, and sinks while the air goes out. The mouth alone
sets level, pitch and first formant: 400 to 600 Hz, gliding up and down with the opening; a larger
head cries lower. A shut mouth is silent. About one cry per second, with random pauses.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import Track, filtered_noise
from v2s_jax.datasets.synthetic.trajectory import bump, smoothstep
from v2s_jax.datasets.synthetic.voice import Formant, harmonics

BREATH_SEC = 0.28
LENGTH_SEC = (0.40, 0.90)  # of one cry
PAUSE_SEC = (0.30, 0.12, 0.90)  # between two cries: shortest, mean excess, longest
OPEN_SEC, SHUT_SEC = 0.09, 0.16
TREMBLE_HZ, TREMBLE = 4.0, 0.18  # the jaw trembles; share of the opening
WEAKEST, STRONGEST = 0.35, 0.70  # peak amplitude of a cry, about

PITCH_HZ_PX = 16_800.0  # pitch of a nearly shut mouth = this / head's radius: 525 to 400 Hz
PITCH_RISE = 0.15  # share that the pitch gains as the mouth opens fully
FIRST_FORMANT_HZ_PX = (28_000.0, 48_000.0)  # shut and open mouth, over the head's radius
SECOND_FORMANT_HZ_PX = 110_000.0
SOURCE_SLOPE = 0.7
VOICE_GAIN = 0.65  # keeps a cry's peak near its strength
BREATH_BAND_HZ = (2_000.0, 5_000.0)
BREATH_SHARE = 0.03  # RMS of the breath's noise over the strength, mouth fully open

HEAD_RADIUS_PX = (32.0, 42.0)
LIFT_PX = 12.0  # of the head, before the longest cry


class Cries(NamedTuple):
    """When the baby cries, for how long and how hard."""

    sample: np.ndarray
    """Sample at which the sound starts."""
    length_sec: Float64[np.ndarray, " cries"]
    strength: Float64[np.ndarray, " cries"]
    """Peak amplitude, WEAKEST to STRONGEST."""


class Look(NamedTuple):
    """What differs between the babies of two clips."""

    radius_px: float
    x_px: float
    skin: drawing.Colour
    blanket: drawing.Colour
    wall: drawing.Colour


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of a baby; the voice follows from the state, the breath in it is noise."""
    clock, samples = context.clock, context.samples
    look = choose_look(context.look.stream("look"))
    cries = choose_cries(context.motion.stream("cries"), clock, samples, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, cries, context.frame_times_sec, clock.sample_rate_hz)
    track = context.track()
    cry_all(track, look.radius_px, cries, clock.sample_rate_hz, context.noise.stream("breath"))
    heard = (cries.sample >= 0) & (cries.sample < samples)
    cry_sec = cries.sample[heard] / clock.sample_rate_hz
    state = {
        "radius_px": look.radius_px,
        "cry_sec": cry_sec.tolist(),
        "length_sec": cries.length_sec[heard].tolist(),
        "strength": cries.strength[heard].tolist(),
    }
    return Scene(painting, track, cry_sec, state)


def choose_cries(rng: Rng, clock: Clock, samples: int, at_rest: bool = False) -> Cries:
    """Draw cries until the clip is over; the first may already be under way."""
    onsets, lengths, strengths = [], [], []
    time_sec = -rng.between(0.0, 1.2)
    end_sec = samples / clock.sample_rate_hz + BREATH_SEC
    while time_sec < end_sec and not at_rest:
        onsets.append(round(time_sec * clock.sample_rate_hz))
        lengths.append(rng.between(*LENGTH_SEC))
        strengths.append(rng.between(WEAKEST, STRONGEST))
        time_sec += lengths[-1] + rng.waiting_time(*PAUSE_SEC)
    return Cries(np.array(onsets, int), np.array(lengths), np.array(strengths))


def mouth(
    since_sec: Float64[np.ndarray, "*times"], length_sec: Float64[np.ndarray, "*#times"] | float
) -> Float64[np.ndarray, "*times"]:
    """Return how far the mouth is open, 0 to 1 of its strength, so long after a cry's start."""
    tremble = 1.0 - TREMBLE * 0.5 * (1.0 - np.cos(2.0 * np.pi * TREMBLE_HZ * since_sec))
    return tremble * bump(since_sec, OPEN_SEC, SHUT_SEC, length_sec - OPEN_SEC - SHUT_SEC)


def air(
    since_sec: Float64[np.ndarray, "*times"], length_sec: Float64[np.ndarray, "*#times"] | float
) -> Float64[np.ndarray, "*times"]:
    """Return the air in the lungs, 0 to 1 of the longest cry's."""
    full = smoothstep((since_sec + BREATH_SEC) / BREATH_SEC) - smoothstep(since_sec / length_sec)
    return full * length_sec / LENGTH_SEC[1]


def cry_all(track: Track, radius_px: float, cries: Cries, sample_rate_hz: int, rng: Rng) -> None:
    """Add the sound of all cries to the track."""
    each = zip(*(part.tolist() for part in cries), strict=True)
    for i, (sample, length_sec, strength) in enumerate(each):
        if sample < len(track.known):
            track.add(sample, cry(radius_px, length_sec, strength, sample_rate_hz))
            level = mouth(_times(length_sec, sample_rate_hz), length_sec)
            breath = filtered_noise(rng.stream(str(i)), len(level), *BREATH_BAND_HZ, sample_rate_hz)
            track.add_texture(breath, BREATH_SHARE * strength * level, sample)


def cry(
    radius_px: float, length_sec: float, strength: float, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return the voice of one cry."""
    level = mouth(_times(length_sec, sample_rate_hz), length_sec)
    wide = level * strength / STRONGEST
    pitch_hz = PITCH_HZ_PX / radius_px * (1.0 + PITCH_RISE * wide)
    low_hz, high_hz = FIRST_FORMANT_HZ_PX
    formants = (
        Formant((low_hz + (high_hz - low_hz) * wide) / radius_px, 350.0, 1.0),
        Formant(SECOND_FORMANT_HZ_PX / radius_px, 600.0, 0.7),
    )
    turns = np.cumsum(pitch_hz) / sample_rate_hz
    voice = harmonics(turns, pitch_hz, SOURCE_SLOPE, formants, sample_rate_hz)
    return VOICE_GAIN * strength * level * voice


def _times(length_sec: float, sample_rate_hz: int) -> Float64[np.ndarray, " samples"]:
    return np.arange(round(length_sec * sample_rate_hz)) / sample_rate_hz


def choose_look(rng: Rng) -> Look:
    """Draw the baby's size, place and colours; the mouth is dark in a lighter face."""
    return Look(
        radius_px=rng.leading(*HEAD_RADIUS_PX),
        x_px=64.0 + rng.between(-6.0, 6.0),
        skin=drawing.colour(rng.between(0.03, 0.07), 0.35, rng.between(0.75, 0.95)),
        blanket=drawing.colour(rng.between(0.0, 1.0), 0.40, rng.between(0.50, 0.75)),
        wall=drawing.colour(rng.between(0.0, 1.0), 0.15, rng.between(0.45, 0.60)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw what does not move: wall and cot."""
    canvas = drawing.vertical_gradient(look.wall, 0.75 * look.wall)
    for post_x in range(8, drawing.FRAME_PX, 20):
        post = drawing.rectangle(post_x - 2.5, -1.0, post_x + 2.5, 129.0)
        drawing.paint(canvas, post, drawing.colour(0.1, 0.15, 0.75))
    return canvas


def animate(
    painting: drawing.Painting, look: Look, cries: Cries, time_sec: np.ndarray, sample_rate_hz: int
) -> None:
    """Paint what moves: chest, head and mouth."""
    r, x = look.radius_px, look.x_px
    since = time_sec[:, None] - cries.sample / sample_rate_hz
    wide = mouth(since, cries.length_sec) @ (cries.strength / STRONGEST)
    lift = LIFT_PX * np.sum(air(since, cries.length_sec), axis=1)
    y = 66.0 - lift
    # The chest under the blanket swells with the air that lifts the head.
    chest = drawing.pose(x, 134.0, 0.0, 1.0, 40.0 + 0.8 * lift)
    swollen = drawing.ellipse(x, 134.0, 1.35 * r, 40.0 + 0.8 * lift)
    painting.paint(swollen, look.blanket, chest)
    head = drawing.pose(x, y)
    dark_skin = 0.86 * look.skin
    for side in (-1.0, 1.0):
        ear = drawing.ellipse(x + side * r, y, 0.2 * r, 0.25 * r)
        painting.paint(ear, dark_skin, head)
    painting.paint(drawing.ellipse(x, y, r, 0.95 * r), look.skin, head)
    brown = drawing.colour(0.07, 0.5, 0.35)
    painting.paint(drawing.bar(x, y - 0.95 * r, x + 0.2 * r, y - 0.75 * r, 2.5), brown, head)
    for side in (-1.0, 1.0):
        eye_x, eye_y = x + side * 0.42 * r, y - 0.2 * r
        eye = drawing.bar(
            eye_x - side * 0.16 * r, eye_y + 2.0, eye_x + side * 0.18 * r, eye_y - 2.0, 2.0
        )
        painting.paint(eye, brown, head)
    lip_x, lip_y = 7.0 + 0.2 * r * wide, 2.0 + 0.38 * r * wide
    throat = drawing.ellipse(x, y + 0.42 * r, lip_x, lip_y)
    lips = drawing.pose(x, y + 0.42 * r, 0.0, lip_x, lip_y)
    painting.paint(throat, drawing.colour(0.98, 0.75, 0.30), lips)
