"""Probes: sets in which one cause alone decides the sound, and ways to disturb the pictures.

    appearance      every clip moves alike; what differs in the sound follows from the look
    motion          one scene for all clips, and a wheel: the sound is on while it turns clockwise.
                    Its angle is even over the circle either way, so one picture says nothing
    foresight       one scene for all clips; a card in the last eighth of the pictures, when the
                    sound is over, tells whether there was one
    delay           the stage stands back by a distance that its size shows; its sound is late by
                    distance / 343 m/s
    silence         half of the clips are at rest, and silent
    counterfactual  clips 2k and 2k + 1 look alike and move otherwise; a last one may have no pair
    distractor      a mute ball bounces before the scene; the sound is the ordinary clip's
    frame_rate_*    the same pictures in files of another, a variable, or a holed frame rate
                    (`encoding.py`)

Wheel, card and ball are painted over the scene of any category. Whoever follows the pictures from
one to the next can see the wheel turn, also a recurrent model that reads them one at a time.
"""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import drawing
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scene import Scene, State
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC
from v2s_jax.errors import InputError

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
WHEEL_TURN_RAD = 2.0 * np.pi / WHEEL_SPOKES * 0.2  # per picture; a half would look like either way

CARD_PLACE_PX, CARD_RADIUS_PX = (18.0, 18.0), 13.0
CARD_SHARE = 8  # the card is shown in the last 1/8 of the pictures

FRONT_M = 100.0  # from the camera to the microphone, where a stage at distance 0 would stand
STAGE_PX = (42, 122)  # size of a stage that stands back: 205 to 4.9 m, 598 to 14 ms
BACKDROP = 96.0  # grey around the stage

BALL_RADIUS_PX = 8.0
BALL_SPEED_PX = (2.0, 5.0)  # sideways, per picture
BALL_BOUNCE_PX = (20.0, 50.0)
BALL_PACE_RAD = (0.25, 0.5)  # of the bounce, per picture

SHOWN_BY_MOTION: tuple[Probe, ...] = ("motion", "counterfactual")
"""Probes that say nothing in a single picture."""
FILES_ALONE: tuple[Probe, ...] = ("frame_rate_other", "frame_rate_variable", "frame_rate_dropped")
"""Probes whose clips are ordinary ones in other files."""
MOVE_ALIKE: tuple[Probe, ...] = ("appearance", "motion", "foresight")
"""Probes whose clips of a category all do the same."""
HEARD_SHARE = 1 / 16
"""Of their length, in which there must be sound: else they would all be silent."""


class Roots(NamedTuple):
    """Where a clip's streams begin, and whether it is at rest."""

    look: Rng
    motion: Rng
    noise: Rng
    at_rest: bool


def check_length(probe: Probe, video_frames: int, clock: Clock) -> None:
    """Raise InputError for a clip too short to show or sound what its probe is about."""
    least = 2 if probe in (*SHOWN_BY_MOTION, "foresight") else 1
    if probe == "delay":
        latest_sec = stage_distance_m(STAGE_PX[0]) / SPEED_OF_SOUND_M_SEC
        least = clock.video_frames(math.ceil(latest_sec * clock.sample_rate_hz)) + 1
    if video_frames < least:
        raise InputError(
            f"probe {probe} with {video_frames} video frames: give at least {least}, since it "
            f"{_WHY_LONGER[probe]}"
        )


_WHY_LONGER: dict[Probe, str] = {
    "motion": "lies in what changes from one picture to the next",
    "counterfactual": "lies in what changes from one picture to the next",
    "foresight": "shows what tells of the sound after it",
    "delay": "makes the sound so late that a shorter clip may end before it",
}


def roots(
    probe: Probe,
    seed: int,
    category: str,
    split: str,
    index: int,
    beyond: bool,
    take: int = 0,
) -> Roots:
    """Return the streams of one clip; those of an ordinary clip are one.

    Clips that all move alike have other takes of what they do, should one make no sound.
    """
    own = Rng(seed, category, split, index, beyond=beyond)
    common = Rng(seed, category, f"probe {probe}", *[take] * (take > 0), beyond=beyond)
    look = motion = own
    match probe:
        case "appearance":
            motion = common
        case "motion" | "foresight":
            look = motion = common
        case "counterfactual":
            look = Rng(seed, category, split, index - index % 2, beyond=beyond)
    at_rest = probe == "silence" and _coin(own, "rest")
    return Roots(look, motion, own, at_rest)


def is_heard(probe: Probe, scene: Scene) -> bool:
    """Tell whether a scene makes enough of a sound for clips that all move alike."""
    track, video_frames = scene.track, len(scene.painting.canvas)
    sounds = (track.known != 0.0) | (track.fresh_variance > 0.0)
    if probe == "foresight":
        sounds = sounds[
            : len(sounds) * (video_frames - card_pictures(video_frames)) // video_frames
        ]
    return float(sounds.mean()) >= HEARD_SHARE


def card_pictures(video_frames: int) -> int:
    """Return how many pictures, the last ones, show the card of `foresight`."""
    return max(1, video_frames // CARD_SHARE)


def stage_distance_m(size_px: int) -> float:
    """Return how far back a stage of this size stands in `delay`."""
    return FRONT_M * (drawing.PICTURE_PX / size_px - 1.0)


def changed(probe: Probe, scene: Scene, draws: Rng, clock: Clock) -> Scene:
    """Return the scene as the probe wants it; the painting is painted over in place."""
    match probe:
        case "motion":
            return _wheel(scene, draws.stream("wheel"), clock)
        case "foresight":
            return _card(scene, draws.stream("card"), clock)
        case "delay":
            return _stage(scene, draws.stream("stage"), clock)
        case "distractor":
            _ball(scene.painting, draws.stream("ball"))
    return scene


def _coin(draws: Rng, purpose: str) -> bool:
    return draws.stream(purpose).between(0.0, 1.0) < 0.5


def _gated(scene: Scene, is_on: bool, end_sample: int, clock: Clock, state: State) -> Scene:
    """Keep the sound until a sample if it is on at all."""
    end = end_sample if is_on else 0
    track = scene.track.scaled((np.arange(len(scene.track.known)) < end).astype(np.float64))
    kept = scene.events_sec < end / clock.sample_rate_hz
    return Scene(scene.painting, track, scene.events_sec[kept], {**scene.state, **state})


def _wheel(scene: Scene, draws: Rng, clock: Clock) -> Scene:
    clockwise = _coin(draws, "direction")
    first = draws.between(0.0, 2.0 * np.pi)
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


def _card(scene: Scene, draws: Rng, clock: Clock) -> Scene:
    video_frames = len(scene.painting.canvas)
    shown = card_pictures(video_frames)
    is_on = _coin(draws, "on")
    is_shown = np.arange(video_frames) >= video_frames - shown
    x, y = CARD_PLACE_PX
    disc = drawing.ellipse(x, y, CARD_RADIUS_PX, CARD_RADIUS_PX) * is_shown[:, None, None]
    scene.painting.paint(disc, drawing.colour(0.0, 0.0, 1.0 if is_on else 0.0))
    end = (video_frames - shown) * clock.samples_per_video_frame
    return _gated(scene, is_on, end, clock, {"card_white": float(is_on)})


def _stage(scene: Scene, draws: Rng, clock: Clock) -> Scene:
    low, high = STAGE_PX
    size = low + int(draws.between(0.0, 1.0) * (high - low + 1))
    distance_m = stage_distance_m(size)
    delay = round(distance_m / SPEED_OF_SOUND_M_SEC * clock.sample_rate_hz)
    track = scene.track.delayed(delay)
    events = scene.events_sec + delay / clock.sample_rate_hz
    kept = events < len(track.known) / clock.sample_rate_hz
    state = {"distance_m": distance_m, "delay_sec": delay / clock.sample_rate_hz}
    painting = scene.painting.set_back(size, BACKDROP)
    return Scene(painting, track, events[kept], {**scene.state, **state})


def _ball(painting: drawing.Painting, draws: Rng) -> None:
    picture = np.arange(len(painting.canvas))
    span = drawing.PICTURE_PX - 2.0 * BALL_RADIUS_PX
    run = draws.between(0.0, 2.0 * span) + draws.between(*BALL_SPEED_PX) * picture
    x = BALL_RADIUS_PX + np.abs((run % (2.0 * span)) - span)
    phase = draws.between(0.0, np.pi) + draws.between(*BALL_PACE_RAD) * picture
    height = draws.between(*BALL_BOUNCE_PX) * np.abs(np.sin(phase))
    y = drawing.PICTURE_PX - BALL_RADIUS_PX - height
    colour = drawing.colour(draws.between(0.0, 1.0), 0.9, 0.9)
    painting.paint(drawing.bar(x, y, x, y, BALL_RADIUS_PX), colour, drawing.pose(x, y))
