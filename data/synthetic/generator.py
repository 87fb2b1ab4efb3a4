"""The generator: names and numbers in, one clip out, the same bytes on every machine."""

import difflib

import numpy as np

from data.synthetic import (
    baby_crying,
    chainsaw,
    dog,
    drum,
    fireworks,
    helicopter,
    printer,
    rail_transport,
    snoring,
    water_flowing,
)
from data.synthetic.clip import SyntheticClip
from data.synthetic.randomness import Draws
from data.synthetic.scene import Setting
from data.synthetic.sound import finished
from v2s_jax.config import Clock
from v2s_jax.errors import InputError

_SCENES = {
    "baby_crying": baby_crying.make,
    "chainsaw": chainsaw.make,
    "dog": dog.make,
    "drum": drum.make,
    "fireworks": fireworks.make,
    "helicopter": helicopter.make,
    "printer": printer.make,
    "rail_transport": rail_transport.make,
    "snoring": snoring.make,
    "water_flowing": water_flowing.make,
}

CATEGORIES: tuple[str, ...] = tuple(_SCENES)
"""Categories that can be made, under their VEGAS folder names."""

SPLITS = ("train", "test")
"""The split enters the key of every draw, so no two splits share a stream."""


def make_clip(
    category: str,
    split: str,
    index: int,
    seed: int,
    clock: Clock,
    video_frames: int,
    with_flow: bool = False,
) -> SyntheticClip:
    """Make one clip; a pure function of its arguments.

    Raises InputError for an unknown category or split, and for a negative index or no pictures.
    """
    _check_known("category", category, CATEGORIES)
    _check_known("split", split, SPLITS)
    if index < 0 or video_frames < 1:
        raise InputError(
            f"clip {index} of {video_frames} video frames: give an index from 0 on and at least "
            "1 video frame"
        )
    draws = Draws(seed, category, split, index)
    setting = Setting(draws, draws, draws, clock, video_frames, with_flow=with_flow)
    scene = _SCENES[category](setting)
    return SyntheticClip(
        clip_id=f"{category}-{split}-{index:05d}",
        category=category,
        frames=scene.painting.frames,
        waveform=finished(scene.track.sound, draws.stream("background")),
        events_sec=np.asarray(scene.events_sec, np.float64),
        state=scene.state,
        track=scene.track,
        flow=scene.painting.flow,
    )


def _check_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{kind} {name!r} is unknown: did you mean {nearest!r}? Known: {', '.join(known)}"
        )
