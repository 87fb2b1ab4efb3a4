"""From a file to one pass of a clip: picture and sound together, before it is looped.

picture  |==============|          whole video frames that lie in both are kept;
sound    |===========|             what either has beyond them is cut
pass     |==========|              n video frames, n x 1,024 samples
"""

import itertools
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Int16

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets import ClipRecord, waveform_to_int16
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor

CLIP_VIDEO_FRAMES = 156
"""Video frames of a clip: 9.984 s, the whole video frames in 10 s (paper: 156 and 159,744)."""

MIN_SEC = 0.5
"""Shortest picture and sound that are looped (ours; the paper's clips last 2 to 10 s)."""


@dataclass(frozen=True)
class ClipLength:
    """How long clips become, and from which files."""

    clock: Clock = field(default_factory=Clock)
    video_frames: int = CLIP_VIDEO_FRAMES
    """Length of every clip; longer files are cut to it, shorter ones looped."""
    min_sec: float = MIN_SEC
    """Files with less picture or sound are rejected."""


@dataclass(frozen=True)
class DecodedClip:
    """What a file gives, once."""

    waveform: Int16[np.ndarray, " samples"]
    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]
    source_sec: float
    """How long the file's pictures last."""
    corrections: tuple[str, ...]
    """What was mended, cut or looped, in words."""


def decode_clip(path: Path, extractor: Extractor, shape: ClipLength) -> DecodedClip:
    """Read a file's picture and sound, cut to whole video frames that both have.

    Raises InputError for a file that cannot be a clip: no video, no sound, too short.
    """
    clock = shape.clock
    video = media.probe(path)
    corrections = [warning.removeprefix(f"{path}: ") for warning in video.warnings]
    samples_max = shape.video_frames * clock.samples_per_video_frame
    limit_sec = Fraction(samples_max, clock.sample_rate_hz)
    is_long = video.duration_sec > limit_sec
    source_sec = float(video.duration_sec)
    if is_long:
        video = replace(video, duration_sec=limit_sec)
    pictures = clock.samples(video.duration_sec)
    sound = media.read_audio_clipped(video, clock)
    common = min(len(sound), pictures)
    common_sec = common / clock.sample_rate_hz
    _check_length(path, source_sec, common_sec, shape.min_sec)
    begins_sec = media.audio_start_sec(video)
    if begins_sec is not None and begins_sec >= 1 / clock.fps:
        corrections.append(f"silence before the sound: {float(begins_sec):.3f} s")
    if len(sound) < pictures:
        corrections.append(f"sound ends first: picture cut at {common_sec:.3f} s")
    if is_long:
        corrections.append(f"cut to its first {float(limit_sec):.3f} s of {source_sec:.3f} s")
    elif len(sound) > pictures:
        corrections.append(f"picture ends first: sound cut at {common_sec:.3f} s")
    video_frames = common // clock.samples_per_video_frame
    samples = video_frames * clock.samples_per_video_frame
    if samples < common:
        corrections.append(f"cut to whole video frames: {common - samples} samples dropped")
    waveform = waveform_to_int16(sound[:samples])
    if not waveform.any():
        corrections.append("its sound is silence throughout")
    frames = media.read_video_frames(
        video, clock, extractor.picture_height_px, extractor.picture_width_px
    )
    features = extractor.extract(itertools.islice(frames, video_frames))
    return DecodedClip(
        waveform, features.appearance, features.motion, source_sec, tuple(corrections)
    )


def _check_length(path: Path, source_sec: float, common_sec: float, min_sec: float) -> None:
    if common_sec < min_sec:
        raise InputError(
            f"{path}: too short: {common_sec:.3f} s of picture and sound together (its pictures "
            f"last {source_sec:.3f} s), at least {min_sec:g} s are needed (--min-sec)"
        )


def loop_to_length(once: DecodedClip, clip_id: str, category: str, shape: ClipLength) -> ClipRecord:
    """Return the clip: the pass over and over until it has `shape.video_frames`.

    Sound and features are repeated alike, so they stay together. The motion of a pass's first
    video frame is what the extractor gave it, that of the file's beginning: the jump back is
    nothing that was filmed.
    """
    frames = np.arange(shape.video_frames) % len(once.appearance)
    samples = np.arange(shape.video_frames * shape.clock.samples_per_video_frame)
    return ClipRecord(
        clip_id=clip_id,
        category=category,
        waveform=once.waveform[samples % len(once.waveform)],
        appearance=once.appearance[frames],
        motion=once.motion[frames],
    )
