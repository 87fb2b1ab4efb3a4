"""The generator: names and numbers in, one clip out, the same whenever it is made."""

import difflib
import functools

import numpy as np

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.clip import SyntheticClip
from v2s_jax.datasets.synthetic.probes import (
    MOVE_ALIKE,
    PROBES,
    Probe,
    changed,
    check_length,
    is_heard,
    roots,
)
from v2s_jax.datasets.synthetic.scene import SceneContext
from v2s_jax.datasets.synthetic.scenes import (
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
from v2s_jax.datasets.synthetic.sound import finished
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

EXTRAPOLATION = "extrapolation"
"""The split whose leading sizes lie just outside the range of all other clips."""

SPLITS = ("train", "test", EXTRAPOLATION)
"""The split enters the key of every draw, so no two splits share a stream."""

TAKES = 50
"""Ways to move that are tried, for clips that all move alike, until one makes a sound."""


def make_clip(
    category: str,
    split: str,
    index: int,
    seed: int,
    clock: Clock,
    video_frames: int,
    probe: Probe = "none",
    with_flow: bool = False,
) -> SyntheticClip:
    """Make one clip; a pure function of its arguments.

    Raises InputError for an unknown category, split or probe, for a negative index or no
    pictures, and for too few of them for the probe to mean anything.
    """
    _check_known("category", category, CATEGORIES)
    _check_known("split", split, SPLITS)
    _check_known("probe", probe, PROBES)
    if index < 0 or video_frames < 1:
        raise InputError(
            f"clip {index} of {video_frames} video frames: give an index from 0 on and at least "
            "1 video frame"
        )
    check_length(probe, video_frames, clock)
    beyond = split == EXTRAPOLATION
    take = 0
    if probe in MOVE_ALIKE:
        take = _sounding_take(probe, seed, category, beyond, clock, video_frames)
    look, motion, noise, at_rest = roots(probe, seed, category, split, index, beyond, take)
    setting = SceneContext(look, motion, noise, clock, video_frames, at_rest, with_flow)
    scene = _SCENES[category](setting)
    scene = changed(probe, scene, noise.stream(probe), clock)
    return SyntheticClip(
        clip_id=f"{category}-{split}-{index:05d}",
        category=category,
        frames=scene.painting.frames,
        waveform=finished(scene.track.sound, noise.stream("background")),
        events_sec=np.asarray(scene.events_sec, np.float64),
        state=scene.state,
        track=scene.track,
        flow=scene.painting.flow,
    )


@functools.cache
def _sounding_take(
    probe: Probe, seed: int, category: str, beyond: bool, clock: Clock, video_frames: int
) -> int:
    """Return the first take of what a probe's clips all do that makes enough of a sound."""
    for take in range(TAKES):
        look, motion, _, _ = roots(probe, seed, category, "", 0, beyond, take)
        scene = _SCENES[category](SceneContext(look, motion, motion, clock, video_frames))
        if is_heard(probe, scene):
            return take
    raise InputError(
        f"probe {probe} of {category}, {video_frames} video frames: none of {TAKES} takes makes a "
        "sound in so short a time: give more video frames"
    )


def _check_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{kind} {name!r} is unknown: did you mean {nearest!r}? Known: {', '.join(known)}"
        )
