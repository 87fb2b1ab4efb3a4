"""Render one synthetic clip; a pure function of its names and numbers."""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.probes import (
    PROBES,
    SHARED_MOTION_PROBES,
    Probe,
    apply_probe,
    check_length,
    clip_streams,
    is_audible,
)
from v2s_jax.datasets.synthetic.scene import SceneContext, State
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
from v2s_jax.datasets.synthetic.sound import Track, add_background
from v2s_jax.errors import InputError, unknown_name_error

GENERATOR_VERSION = 2
"""Stored with each clip. Raise it when the same arguments give other bytes, which is when the
golden hashes of tests/datasets/synthetic/test_golden_clips.py change."""

_SCENES = {
    "baby_crying": baby_crying.render_scene,
    "chainsaw": chainsaw.render_scene,
    "dog": dog.render_scene,
    "drum": drum.render_scene,
    "fireworks": fireworks.render_scene,
    "helicopter": helicopter.render_scene,
    "printer": printer.render_scene,
    "rail_transport": rail_transport.render_scene,
    "snoring": snoring.render_scene,
    "water_flowing": water_flowing.render_scene,
}

CATEGORIES: tuple[str, ...] = tuple(_SCENES)
"""Categories, by their VEGAS folder names."""

EXTRAPOLATION = "extrapolation"
"""The split whose leading sizes are just outside the range of all other clips."""

SPLITS = ("train", "test", EXTRAPOLATION)
"""The split is part of the key of every random stream, so splits share no stream."""

MAX_ATTEMPTS = 50
"""Motions that are tried for clips that all move alike, until one makes enough sound."""


@dataclass(frozen=True)
class SyntheticClip:
    """One rendered clip."""

    clip_id: str
    """Category, split and index, such as `drum-train-00012`."""
    category: str
    """VEGAS folder name of the category."""
    frames: UInt8[np.ndarray, "video_frames height width 3"]
    """RGB; frame i shows the state at `clock.video_frame_time_sec(i)`."""
    waveform: Float32[np.ndarray, " samples"]
    """Amplitudes in [-1, 1), multiples of 1/32768; `samples_per_video_frame` for each frame."""
    events_sec: Float64[np.ndarray, " events"]
    """Rising onset times from the start of the clip; empty for sounds without onsets."""
    state: State
    """The visible quantities."""
    track: Track
    """The sound before background noise and rounding, with what an oracle knows of it."""
    flow: Float32[np.ndarray, "video_frames height width 2"] | None
    """Exact displacement (right, down) in px from frame i - 1 to frame i, indexed by the pixel in
    frame i - 1; zero for i = 0. None unless requested."""


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
    """Render one clip.

    Args:
        category: one of CATEGORIES.
        split: one of SPLITS.
        index: number of the clip in its category and split, from 0.
        seed: seed of the dataset.
        clock: sample rate and video frame rate.
        video_frames: length of the clip.
        probe: what determines the sound, or disturbs the video.
        with_flow: also compute the exact optical flow.

    Returns:
        The clip; equal arguments give equal bytes.

    Raises:
        InputError: for an unknown name, a negative index, or a clip too short for the probe.
    """
    for kind, name, known in (
        ("category", category, CATEGORIES),
        ("split", split, SPLITS),
        ("probe", probe, PROBES),
    ):
        if name not in known:
            raise unknown_name_error(kind, name, known)
    if index < 0 or video_frames < 1:
        raise InputError(
            f"clip {index} of {video_frames} video frames: give an index of at least 0 and at "
            "least 1 video frame"
        )
    check_length(probe, video_frames, clock)
    extrapolate = split == EXTRAPOLATION
    attempt = 0
    if probe in SHARED_MOTION_PROBES:
        attempt = _audible_attempt(probe, seed, category, extrapolate, clock, video_frames)
    look, motion, noise, at_rest = clip_streams(
        probe, seed, category, split, index, extrapolate, attempt
    )
    context = SceneContext(look, motion, noise, clock, video_frames, at_rest, with_flow)
    scene = _SCENES[category](context)
    scene = apply_probe(probe, scene, noise.stream(probe), clock)
    return SyntheticClip(
        clip_id=f"{category}-{split}-{index:05d}",
        category=category,
        frames=scene.painting.frames,
        waveform=add_background(scene.track.sound, noise.stream("background")),
        events_sec=np.asarray(scene.events_sec, np.float64),
        state=scene.state,
        track=scene.track,
        flow=scene.painting.flow,
    )


@functools.cache
def _audible_attempt(
    probe: Probe, seed: int, category: str, extrapolate: bool, clock: Clock, video_frames: int
) -> int:
    """Return the first attempt at a shared motion that makes enough sound."""
    for attempt in range(MAX_ATTEMPTS):
        look, motion, _, _ = clip_streams(probe, seed, category, "", 0, extrapolate, attempt)
        scene = _SCENES[category](SceneContext(look, motion, motion, clock, video_frames))
        if is_audible(probe, scene):
            return attempt
    raise InputError(
        f"probe {probe} of {category}, {video_frames} video frames: no sound in {MAX_ATTEMPTS} "
        "attempts: use more video frames"
    )
