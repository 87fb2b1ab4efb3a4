"""Probes: datasets in which a single cause determines the sound, or the video is disturbed.

    appearance      all clips move alike; only the look determines what differs in the sound
    motion          all clips share one scene, and a wheel: the sound is on while it turns
                    clockwise. Its angle is uniform either way, so one frame says nothing
    foresight       all clips share one scene; a card in the last eighth of the frames, when the
                    sound is over, tells whether there was one
    delay           the stage stands back by a distance that its size shows; its sound is late by
                    distance / 343 m/s
    silence         half of the clips are at rest, and silent
    counterfactual  clips 2k and 2k + 1 look alike and move differently; a last one may be unpaired
    distractor      a silent ball bounces in front of the scene; the sound is the ordinary clip's
    frame_rate_*    the same frames in files with another, a variable, or an irregular frame rate
                    (`encoding.py`)

Wheel, card and ball are painted over the scene of any category. A model that compares frames can
see the wheel turn, and so can a recurrent model that reads one frame at a time.
"""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, State
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC
from v2s_jax.errors import InputError, unknown_name_error

Probe = Literal[
    "none",
    "appearance",
    "motion",
    "foresight",
    "delay",
    "silence",
    "counterfactual",
    "distractor",
    "frame_rate_other",
    "frame_rate_variable",
    "frame_rate_dropped",
]
PROBES: tuple[Probe, ...] = get_args(Probe)

WHEEL_PLACE_PX, WHEEL_RADIUS_PX = (18.0, 18.0), 14.0
WHEEL_SPOKES = 3
WHEEL_TURN_RAD = (
    2.0 * np.pi / WHEEL_SPOKES * 0.2
)  # per frame; at half a spoke the direction is ambiguous

CARD_PLACE_PX, CARD_RADIUS_PX = (18.0, 18.0), 13.0
CARD_SHARE = 8  # the card is shown in the last 1/8 of the frames

FRONT_M = 100.0  # from the camera to a stage at distance 0
STAGE_PX = (42, 122)  # size of the stage: 205 to 4.9 m, 598 to 14 ms
BACKDROP = 96.0  # grey around the stage

BALL_RADIUS_PX = 8.0
BALL_SPEED_PX = (2.0, 5.0)  # sideways, per frame
BALL_BOUNCE_PX = (20.0, 50.0)
BALL_PACE_RAD = (0.25, 0.5)  # of the bounce, per frame

MOTION_PROBES: tuple[Probe, ...] = ("motion", "counterfactual")
"""Probes in which a single frame says nothing about the sound."""
FILE_PROBES: tuple[Probe, ...] = ("frame_rate_other", "frame_rate_variable", "frame_rate_dropped")
"""Probes that change only the files of ordinary clips."""
SHARED_MOTION_PROBES: tuple[Probe, ...] = ("appearance", "motion", "foresight")
"""Probes in which all clips of a category move alike."""
MIN_AUDIBLE_SHARE = 1 / 16
"""Share of these clips that must have sound, or all of them would be silent."""


class ClipStreams(NamedTuple):
    """Roots of a clip's random streams, and whether it is at rest."""

    look: Rng
    motion: Rng
    noise: Rng
    at_rest: bool


def find_probe(name: str) -> Probe:
    """Return a probe by name; raise InputError with the nearest name if it is unknown."""
    for probe in PROBES:
        if name == probe:
            return probe
    raise unknown_name_error("--probe", name, PROBES)


def check_length(probe: Probe, video_frames: int, clock: Clock) -> None:
    """Raise InputError for a clip too short for its probe."""
    min_frames = 2 if probe in (*MOTION_PROBES, "foresight") else 1
    if probe == "delay":
        latest_sec = stage_distance_m(STAGE_PX[0]) / SPEED_OF_SOUND_M_SEC
        min_frames = clock.video_frames(math.ceil(latest_sec * clock.sample_rate_hz)) + 1
    if video_frames < min_frames:
        raise InputError(
            f"probe {probe} with {video_frames} video frames: use at least {min_frames}, because "
            f"{_WHY_LONGER[probe]}"
        )


_WHY_LONGER: dict[Probe, str] = {
    "motion": "it shows in the change between frames",
    "counterfactual": "it shows in the change between frames",
    "foresight": "it shows after the sound",
    "delay": "a delayed sound may start after the end of a shorter clip",
}


def clip_streams(
    probe: Probe,
    seed: int,
    category: str,
    split: str,
    index: int,
    extrapolate: bool,
    attempt: int = 0,
) -> ClipStreams:
    """Return the random streams of a clip; in an ordinary clip they have the same root.

    For clips that move alike, `attempt` selects another motion, in case one makes no sound.
    """
    own = Rng(seed, category, split, index, extrapolate=extrapolate)
    common = Rng(
        seed, category, f"probe {probe}", *([attempt] if attempt else []), extrapolate=extrapolate
    )
    look = motion = own
    match probe:
        case "appearance":
            motion = common
        case "motion" | "foresight":
            look = motion = common
        case "counterfactual":
            look = Rng(seed, category, split, index - index % 2, extrapolate=extrapolate)
    at_rest = probe == "silence" and _coin(own, "rest")
    return ClipStreams(look, motion, own, at_rest)


def is_audible(probe: Probe, scene: Scene) -> bool:
    """Return whether a scene has enough sound for clips that all move alike."""
    track, video_frames = scene.track, len(scene.painting.canvas)
    sounds = (track.known != 0.0) | (track.fresh_variance > 0.0)
    if probe == "foresight":
        sounds = sounds[: len(sounds) * (video_frames - card_frames(video_frames)) // video_frames]
    return float(sounds.mean()) >= MIN_AUDIBLE_SHARE


def card_frames(video_frames: int) -> int:
    """Return how many of the last frames show the card of `foresight`."""
    return max(1, video_frames // CARD_SHARE)


def stage_distance_m(size_px: int) -> float:
    """Return the distance of a stage of this size in `delay`."""
    return FRONT_M * (drawing.FRAME_PX / size_px - 1.0)


def apply_probe(probe: Probe, scene: Scene, rng: Rng, clock: Clock) -> Scene:
    """Apply a probe to a scene; the painting changes in place."""
    match probe:
        case "motion":
            return _wheel(scene, rng.stream("wheel"), clock)
        case "foresight":
            return _card(scene, rng.stream("card"), clock)
        case "delay":
            return _stage(scene, rng.stream("stage"), clock)
        case "distractor":
            _ball(scene.painting, rng.stream("ball"))
    return scene


def _coin(rng: Rng, purpose: str) -> bool:
    return rng.stream(purpose).between(0.0, 1.0) < 0.5


def _gated(scene: Scene, is_on: bool, end_sample: int, clock: Clock, state: State) -> Scene:
    """Silence the track from a sample on, or all of it unless `is_on`."""
    end = end_sample if is_on else 0
    track = scene.track.scaled((np.arange(len(scene.track.known)) < end).astype(np.float64))
    kept = scene.events_sec < end / clock.sample_rate_hz
    return Scene(scene.painting, track, scene.events_sec[kept], {**scene.state, **state})


def _wheel(scene: Scene, rng: Rng, clock: Clock) -> Scene:
    clockwise = _coin(rng, "direction")
    first = rng.between(0.0, 2.0 * np.pi)
    way = WHEEL_TURN_RAD if clockwise else -WHEEL_TURN_RAD
    angle = first + way * np.arange(len(scene.painting.canvas))
    x, y = WHEEL_PLACE_PX
    turning = drawing.pose(x, y, angle)
    disc = drawing.ellipse(x, y, WHEEL_RADIUS_PX, WHEEL_RADIUS_PX)
    scene.painting.paint(disc, drawing.colour(0.0, 0.0, 0.95), turning)
    reach = WHEEL_RADIUS_PX - 3.0
    for spoke in range(WHEEL_SPOKES):
        at = angle + spoke * 2.0 * np.pi / WHEEL_SPOKES
        bar = drawing.bar(x, y, x + reach * np.cos(at), y + reach * np.sin(at), 2.0)
        scene.painting.paint(bar, drawing.colour(0.0, 0.0, 0.05), turning)
    state = {"wheel_clockwise": float(clockwise), "wheel_first_rad": first}
    return _gated(scene, clockwise, len(scene.track.known), clock, state)


def _card(scene: Scene, rng: Rng, clock: Clock) -> Scene:
    video_frames = len(scene.painting.canvas)
    shown = card_frames(video_frames)
    is_on = _coin(rng, "on")
    is_shown = np.arange(video_frames) >= video_frames - shown
    x, y = CARD_PLACE_PX
    disc = drawing.ellipse(x, y, CARD_RADIUS_PX, CARD_RADIUS_PX) * is_shown[:, None, None]
    scene.painting.paint(disc, drawing.colour(0.0, 0.0, 1.0 if is_on else 0.0))
    end = (video_frames - shown) * clock.samples_per_video_frame
    return _gated(scene, is_on, end, clock, {"card_white": float(is_on)})


def _stage(scene: Scene, rng: Rng, clock: Clock) -> Scene:
    low, high = STAGE_PX
    size = low + int(rng.between(0.0, 1.0) * (high - low + 1))
    distance_m = stage_distance_m(size)
    delay = round(distance_m / SPEED_OF_SOUND_M_SEC * clock.sample_rate_hz)
    track = scene.track.delayed(delay)
    events = scene.events_sec + delay / clock.sample_rate_hz
    kept = events < len(track.known) / clock.sample_rate_hz
    state = {"distance_m": distance_m, "delay_sec": delay / clock.sample_rate_hz}
    painting = scene.painting.shrink(size, BACKDROP)
    return Scene(painting, track, events[kept], {**scene.state, **state})


def _ball(painting: drawing.Painting, rng: Rng) -> None:
    frame = np.arange(len(painting.canvas))
    span = drawing.FRAME_PX - 2.0 * BALL_RADIUS_PX
    run = rng.between(0.0, 2.0 * span) + rng.between(*BALL_SPEED_PX) * frame
    x = BALL_RADIUS_PX + np.abs((run % (2.0 * span)) - span)
    phase = rng.between(0.0, np.pi) + rng.between(*BALL_PACE_RAD) * frame
    height = rng.between(*BALL_BOUNCE_PX) * np.abs(np.sin(phase))
    y = drawing.FRAME_PX - BALL_RADIUS_PX - height
    colour = drawing.colour(rng.between(0.0, 1.0), 0.9, 0.9)
    painting.paint(drawing.bar(x, y, x, y, BALL_RADIUS_PX), colour, drawing.pose(x, y))
