"""Fireworks: rockets that rise, burst at a distance, and are heard once the sound is there.

    launch -> rises, slower and slower (0.75 s) -> burst: flash, sparks -> gold sparks crackle

Everything is d / c late: a burst at t bangs at t + d / 343. The distance shows in the size of all
that is drawn, also of the mortar on the ground. Level is inverse to the distance, and a far bang
is duller: a crack, noise that rolls on for half a second, and a short boom. While it rises a
rocket whistles, lower as it slows down. Only gold sparks crackle: each that flares up white pops,
d / c later.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, SceneContext
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC, Track, add_at
from v2s_jax.datasets.synthetic.trajectory import PAST_SEC
from v2s_jax.datasets.synthetic.voice import partials

NEAREST_M = 40.0
NEARNESS = (0.28, 1.0)  # nearest distance over the distance: 143 m to 40 m, 0.42 s to 0.12 s
PX_PER_M = 1.75  # at the nearest distance

RISE_SEC = 0.75
HEIGHT_M = (32.0, 44.0)  # of a burst
GAP_SEC = (0.50, 0.30, 1.40)  # from one burst to the next: shortest, mean excess, longest
GOLD_SHARE = 0.5  # of the rockets: those that crackle

WHISTLE_HZ = (900.0, 2_400.0)  # at the burst and at the launch
WHISTLE_PEAK = 0.05  # all levels: at the nearest distance
BOOM_HZ = np.array([62.0, 118.0, 197.0])
BOOM_AMPLITUDE = np.array([1.0, 0.8, 0.5])
BOOM_SEC = 0.09  # decay time of the boom's amplitude
BOOM_PEAK = 0.15
CRACK_RMS, CRACK_SEC = 0.10, 0.012  # the noise with which a bang starts, and its decay time
CRACK_BAND_HZ = (500.0, 3_000.0)
CRACK_DULLNESS = 0.5  # the crack's upper corner: ~ nearness to this power
BLAST_RMS, BLAST_SEC = 0.12, 0.20  # what rolls on after the crack
BLAST_LOW_HZ, BLAST_HIGH_HZ = 80.0, 2_500.0  # the upper corner: ~ nearness
POP_RMS, POP_SEC = 0.02, 0.0025
POP_BAND_HZ = (1_000.0, 4_000.0)
DECAYS = 7.0  # length of each part in decay times: -61 dB at its end

SPARKS = 44
SPARK_REACH_M = 19.0
SPREAD_SEC = 0.16  # time in which sparks cover 63 % of their reach
SPARK_SINK_M_SEC2 = 9.0  # braked by the air
SPARK_SEC = 0.95  # until the sparks are out
POPPING_SHARE = 0.5  # of the gold sparks
POP_AFTER_SEC = (0.25, 0.85)  # after the burst
FLARE_SEC = 0.06  # that a popping spark is seen white and large
FLASH_SEC = 0.10  # decay time of the flash
FLASH_M = 9.0


class Rockets(NamedTuple):
    """When rockets burst, and where."""

    burst_sec: Float64[np.ndarray, " rockets"]
    x_m: Float64[np.ndarray, " rockets"]
    """To the right of the mortar."""
    height_m: Float64[np.ndarray, " rockets"]
    gold: np.ndarray
    """Whether the sparks are gold and crackle."""
    hue: Float64[np.ndarray, " rockets"]
    spark_x: Float64[np.ndarray, "rockets sparks"]
    """Direction and reach of each spark, over the longest reach."""
    spark_y: Float64[np.ndarray, "rockets sparks"]
    pop_sec: Float64[np.ndarray, "rockets sparks"]
    """When a spark pops, after the burst; infinity for one that does not."""


class Look(NamedTuple):
    """What differs between the places of two clips."""

    nearness: float
    x_px: float
    sky: drawing.Colour
    ground: drawing.Colour

    @property
    def delay_sec(self) -> float:
        """Time that the sound takes."""
        return NEAREST_M / self.nearness / SPEED_OF_SOUND_M_SEC

    @property
    def px_per_m(self) -> float:
        """The image's scale."""
        return PX_PER_M * self.nearness

    @property
    def base_y_px(self) -> float:
        """Where the mortar stands: nearer is further down."""
        return 100.0 + 18.0 * self.nearness


def render_scene(context: SceneContext) -> Scene:
    """Render one clip of fireworks; all but the noise of a blast follows from the state."""
    look = choose_look(context.look.stream("look"))
    rockets = choose_rockets(context.motion.stream("rockets"), context.end_sec, context.at_rest)
    painting = context.painting(draw_background(look))
    animate(painting, look, rockets, context.frame_times_sec)
    track = context.track()
    bang_sec = hear(track, look, rockets, context)
    state = {
        "distance_m": NEAREST_M / look.nearness,
        "burst_sec": rockets.burst_sec.tolist(),
        "gold": rockets.gold.astype(float).tolist(),
    }
    return Scene(painting, track, bang_sec, state)


def choose_rockets(rng: Rng, end_sec: float, at_rest: bool = False) -> Rockets:
    """Draw rockets until one bursts after the clip; at rest there are none."""
    bursts: list[float] = []
    time_sec = -PAST_SEC
    while time_sec < end_sec + RISE_SEC and not at_rest:
        time_sec += rng.waiting_time(*GAP_SEC)
        bursts.append(time_sec)
    count = len(bursts)
    gold = rng.uniforms(count) < GOLD_SHARE
    shape = (count, SPARKS)
    turn = 2.0 * np.pi * rng.uniforms(count * SPARKS).reshape(shape)
    # Even over a ball's shadow: most sparks are seen near the rim.
    reach = np.sqrt(1.0 - rng.uniforms(count * SPARKS).reshape(shape) ** 2)
    early, late = POP_AFTER_SEC
    pop = early + (late - early) * rng.uniforms(count * SPARKS).reshape(shape)
    pops = (rng.uniforms(count * SPARKS).reshape(shape) < POPPING_SHARE) & gold[:, None]
    low, high = HEIGHT_M
    return Rockets(
        burst_sec=np.array(bursts),
        x_m=14.0 * (2.0 * rng.uniforms(count) - 1.0),
        height_m=low + (high - low) * rng.uniforms(count),
        gold=gold,
        hue=0.45 + 0.5 * rng.uniforms(count),
        spark_x=reach * np.cos(turn),
        spark_y=reach * np.sin(turn),
        pop_sec=np.where(pops, pop, np.inf),
    )


def risen(part: Float64[np.ndarray, "*times"]) -> Float64[np.ndarray, "*times"]:
    """Return the share of its height that a rocket has reached after a share of its rise."""
    return 1.0 - (1.0 - np.clip(part, 0.0, 1.0)) ** 2


def hear(
    track: Track, look: Look, rockets: Rockets, context: SceneContext
) -> Float64[np.ndarray, " bangs"]:
    """Add the sound of all rockets to the track; return when bangs are heard."""
    rate_hz, samples, near = context.clock.sample_rate_hz, context.samples, look.nearness
    climb = round(RISE_SEC * rate_hz)
    heard_sec = rockets.burst_sec + look.delay_sec
    bangs = np.rint(heard_sec * rate_hz).astype(int)
    for start in bangs[bangs - climb < samples].tolist():
        track.add(start - climb, near * whistle(climb, rate_hz))
        track.add(start, near * boom(rate_hz))
    pops = np.rint((heard_sec[:, None] + rockets.pop_sec) * rate_hz)
    pops = pops[np.isfinite(pops)].astype(int)
    low_hz, high_hz = CRACK_BAND_HZ
    for name, starts, rms, decay_sec, band_hz in (
        ("crack", bangs, CRACK_RMS, CRACK_SEC, (low_hz, high_hz * near**CRACK_DULLNESS)),
        ("blast", bangs, BLAST_RMS, BLAST_SEC, (BLAST_LOW_HZ, BLAST_HIGH_HZ * near)),
        ("pops", pops, POP_RMS, POP_SEC, POP_BAND_HZ),
    ):
        level = decays(starts, decay_sec, samples, rate_hz)
        track.add_texture(context.noise_band(name, *band_hz), rms * near * level)
    return bangs[(bangs >= 0) & (bangs < samples)] / rate_hz


def decays(
    starts: np.ndarray, decay_sec: float, samples: int, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return a level that jumps to 1 at each start and decays to 0."""
    level = np.zeros(samples)
    decay = decay_sec * sample_rate_hz
    fall = np.exp(-np.arange(round(DECAYS * decay)) / decay)
    for start in starts.tolist():
        add_at(level, start, fall)
    return level


def whistle(samples: int, sample_rate_hz: int) -> Float64[np.ndarray, " samples"]:
    """Return a rocket's whistle until it bursts; its pitch falls with its speed."""
    part = np.arange(samples) / samples
    low_hz, high_hz = WHISTLE_HZ
    seconds = part * samples / sample_rate_hz
    turns = seconds * (high_hz - 0.5 * (high_hz - low_hz) * part)  # integral of the pitch
    level = np.minimum(1.0, 12.0 * part) * np.minimum(1.0, 12.0 * (1.0 - part))
    return WHISTLE_PEAK * level * partials(turns, (0.8, 0.2))


def boom(sample_rate_hz: int) -> Float64[np.ndarray, " samples"]:
    """Return the tonal part of a bang: a step of pressure that rings."""
    time_sec = np.arange(round(BOOM_SEC * DECAYS * sample_rate_hz)) / sample_rate_hz
    parts = BOOM_AMPLITUDE * np.cos(2.0 * np.pi * BOOM_HZ * time_sec[:, None])
    return BOOM_PEAK * np.exp(-time_sec / BOOM_SEC) * parts.sum(axis=1) / BOOM_AMPLITUDE.sum()


def choose_look(rng: Rng) -> Look:
    """Draw distance, place and colours; the sky is dark."""
    hue = rng.between(0.58, 0.72)
    return Look(
        nearness=rng.leading(*NEARNESS),
        x_px=64.0 + rng.between(-8.0, 8.0),
        sky=drawing.colour(hue, 0.60, rng.between(0.08, 0.16)),
        ground=drawing.colour(rng.between(0.20, 0.40), 0.40, rng.between(0.16, 0.24)),
    )


def draw_background(look: Look) -> Float64[np.ndarray, "height width 3"]:
    """Draw sky, ground and mortar."""
    canvas = drawing.vertical_gradient(look.sky, 1.6 * look.sky)
    drawing.paint(canvas, drawing.rectangle(-1.0, 100.0, 129.0, 129.0), look.ground)
    x, y, scale = look.x_px, look.base_y_px, look.px_per_m
    iron = drawing.colour(0.08, 0.30, 0.60)
    mortar = drawing.rectangle(x - 4.0 * scale, y - 7.0 * scale, x + 4.0 * scale, y + 3.0 * scale)
    drawing.paint(canvas, mortar, iron)
    return canvas


def animate(painting: drawing.Painting, look: Look, rockets: Rockets, time_sec: np.ndarray) -> None:
    """Paint the rockets, the flashes and the sparks."""
    near, scale = look.nearness, look.px_per_m
    age = time_sec[:, None] - rockets.burst_sec
    flash = np.where(age >= 0.0, np.exp(-np.maximum(age, 0.0) / FLASH_SEC), 0.0)
    white = drawing.colour(0.13, 0.15, 1.0)
    glow = np.clip(0.5 * near * flash.sum(axis=1), 0.0, 0.5)  # the whole sky lights up
    painting.paint(glow[:, None, None] * drawing.rectangle(-1.0, -1.0, 129.0, 129.0), white)
    mouth_y = look.base_y_px - 7.0 * scale
    for rocket in range(len(rockets.burst_sec)):
        mine = age[:, rocket]
        if not ((mine > -RISE_SEC) & (mine < SPARK_SEC)).any():
            continue
        part = mine / RISE_SEC + 1.0
        rise_px = (rockets.height_m[rocket] - 7.0) * scale
        burst_x = look.x_px + rockets.x_m[rocket] * scale
        burst_y = mouth_y - rise_px
        _rocket(painting, look, part, (burst_x, mouth_y, rise_px))
        disc = drawing.ellipse(burst_x, burst_y, FLASH_M * scale, FLASH_M * scale)
        painting.paint(flash[:, rocket, None, None] * disc, white)
        _sparks(painting, look, rockets, rocket, mine, (burst_x, burst_y))


def _rocket(
    painting: drawing.Painting,
    look: Look,
    part: Float64[np.ndarray, " video_frames"],
    place: tuple[float, float, float],
) -> None:
    """Paint one rocket on its way from the mortar, and the fire behind it."""
    burst_x, mouth_y, rise_px = place
    flying = ((part > 0.0) & (part < 1.0)).astype(np.float64)[:, None, None]
    up, behind = risen(part), risen(part - 0.14)
    x = look.x_px + (burst_x - look.x_px) * up
    y = mouth_y - rise_px * up
    tail_x = look.x_px + (burst_x - look.x_px) * behind
    tail_y = mouth_y - rise_px * behind
    radius_px = 1.0 + 2.0 * look.nearness
    trail = drawing.bar(x, y, tail_x, tail_y, 0.6 * radius_px)
    painting.paint(flying * trail, drawing.colour(0.08, 0.75, 0.95), drawing.pose(x, y))
    head = drawing.bar(x, y, x, y, radius_px)
    painting.paint(flying * head, drawing.colour(0.13, 0.15, 1.0), drawing.pose(x, y))


def _sparks(
    painting: drawing.Painting,
    look: Look,
    rockets: Rockets,
    rocket: int,
    age: Float64[np.ndarray, " video_frames"],
    burst: tuple[float, float],
) -> None:
    """Paint the sparks of one burst, and flares on those that pop."""
    scale = look.px_per_m
    since = np.clip(age, 0.0, SPARK_SEC)
    spread = np.maximum(SPARK_REACH_M * scale * (1.0 - np.exp(-since / SPREAD_SEC)), 0.1)
    middle_y = burst[1] + 0.5 * SPARK_SINK_M_SEC2 * scale * since**2
    motion = drawing.pose(np.full_like(age, burst[0]), middle_y, 0.0, spread, spread)
    gold = bool(rockets.gold[rocket])
    tint = (
        drawing.colour(0.12, 0.75, 0.95) if gold else drawing.colour(rockets.hue[rocket], 0.6, 0.95)
    )
    x = burst[0] + spread[:, None] * rockets.spark_x[rocket]
    y = middle_y[:, None] + spread[:, None] * rockets.spark_y[rocket]
    lit = np.broadcast_to(((age >= 0.0) & (age < SPARK_SEC))[:, None], x.shape)
    radius_px = 0.7 + 1.1 * look.nearness
    fade = np.clip(1.6 * (1.0 - age / SPARK_SEC), 0.0, 1.0)[:, None, None]
    frame, _ = np.nonzero(lit)
    dots = drawing.dots(len(age), frame, x[lit], y[lit], radius_px)
    painting.paint(fade * dots, tint, motion)
    flaring = lit & (np.abs(age[:, None] - rockets.pop_sec[rocket]) < 0.5 * FLARE_SEC)
    if flaring.any():
        frame, _ = np.nonzero(flaring)
        flares = drawing.dots(len(age), frame, x[flaring], y[flaring], radius_px + 1.0)
        painting.paint(flares, drawing.colour(0.13, 0.05, 1.0), motion)
