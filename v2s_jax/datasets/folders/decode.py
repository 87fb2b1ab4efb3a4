"""Decode a video file to one pass of a clip, cache the pass, and loop it to a clip.

images   |==============|          keep the whole video frames that both have,
audio    |===========|             cut off the rest
pass     |==========|              n video frames, n x 1,024 samples
clip     |==========|==========|== loop the pass to the length of a clip
"""

import dataclasses
import hashlib
import io
import itertools
import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from etils import epath
from jaxtyping import Float16, Int16

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets import ClipRecord, waveform_to_int16
from v2s_jax.datasets.remote import write_bytes
from v2s_jax.errors import InputError
from v2s_jax.features import Extractor
from v2s_jax.features.extractor import ExtractorSpec
from v2s_jax.io import ZIP_ERRORS
from v2s_jax.json_text import parse_json

CLIP_VIDEO_FRAMES = 156
"""Video frames of a clip: 9.984 s, the whole video frames in 10 s (paper: 156 and 159,744)."""

MIN_SEC = 0.5
"""Shortest video that is looped (our choice; the paper's clips last 2 to 10 s)."""

READING_VERSION = 2
"""Part of the cache keys. Raise it when the same file would give other features or audio."""


@dataclass(frozen=True)
class ClipLength:
    """The length of the clips, and of the shortest accepted file."""

    clock: Clock = field(default_factory=Clock)
    video_frames: int = CLIP_VIDEO_FRAMES
    """Length of every clip: longer files are cut, shorter ones looped."""
    min_sec: float = MIN_SEC
    """Files with less video or audio are rejected."""

    @property
    def samples(self) -> int:
        """Samples of every clip."""
        return self.video_frames * self.clock.samples_per_video_frame


@dataclass(frozen=True)
class DecodedClip:
    """One pass of a file."""

    waveform: Int16[np.ndarray, " samples"]
    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]
    source_sec: float
    """Duration of the file's video stream."""
    corrections: tuple[str, ...]
    """What was repaired, cut or looped, as text."""


def decode_clip(path: Path, extractor: Extractor, length: ClipLength) -> DecodedClip:
    """Decode a file and cut it to the whole video frames that video and audio share.

    Raises InputError for a file without video or audio, or one that is too short.
    """
    clock = length.clock
    video = media.probe(path)
    corrections = [warning.removeprefix(f"{path}: ") for warning in video.warnings]
    limit_sec = Fraction(length.samples, clock.sample_rate_hz)
    is_long = video.duration_sec > limit_sec
    source_sec = float(video.duration_sec)
    if is_long:
        video = replace(video, duration_sec=limit_sec)
    video_samples = clock.samples(video.duration_sec)
    audio = media.read_audio_clipped(video, clock)
    common = min(len(audio), video_samples)
    common_sec = common / clock.sample_rate_hz
    if common_sec < length.min_sec:
        raise InputError(
            f"{path}: too short: {common_sec:.3f} s of video with audio (the video lasts "
            f"{source_sec:.3f} s), at least {length.min_sec:g} s are needed (--min-sec)"
        )
    start_sec = media.audio_start_sec(video)
    if start_sec is not None and start_sec >= 1 / clock.fps:
        corrections.append(f"audio starts late: {float(start_sec):.3f} s of silence added")
    if len(audio) < video_samples:
        corrections.append(f"audio ends first: video cut at {common_sec:.3f} s")
    if is_long:
        corrections.append(f"cut to its first {float(limit_sec):.3f} s of {source_sec:.3f} s")
    elif len(audio) > video_samples:
        corrections.append(f"video ends first: audio cut at {common_sec:.3f} s")
    video_frames = common // clock.samples_per_video_frame
    samples = video_frames * clock.samples_per_video_frame
    if samples < common:
        corrections.append(f"cut to whole video frames: {common - samples} samples dropped")
    waveform = waveform_to_int16(audio[:samples])
    if not waveform.any():
        corrections.append("its audio is silent throughout")
    frames = media.read_video_frames(
        video, clock, extractor.frame_height_px, extractor.frame_width_px
    )
    features = extractor.extract(itertools.islice(frames, video_frames))
    return DecodedClip(
        waveform, features.appearance, features.motion, source_sec, tuple(corrections)
    )


def loop_to_length(
    decoded: DecodedClip, clip_id: str, category: str, length: ClipLength
) -> ClipRecord:
    """Return the clip: the pass repeated up to `length.video_frames`.

    Audio and features repeat together. The motion of a pass's first video frame is always that of
    the start of the file, because nothing was filmed at the jump back.
    """
    frames = np.arange(length.video_frames) % len(decoded.appearance)
    samples = np.arange(length.samples) % len(decoded.waveform)
    return ClipRecord(
        clip_id=clip_id,
        category=category,
        waveform=decoded.waveform[samples],
        appearance=decoded.appearance[frames],
        motion=decoded.motion[frames],
    )


def cache_key(sha256: str, extractor: ExtractorSpec, length: ClipLength) -> str:
    """Return the cache key of a file's pass.

    It depends on the file's bytes, the extractor with its weights (resolved to digests), the clock
    and the length. Names, folders and splits do not count, so changing them recomputes nothing.
    """
    made_from = {
        "reading_version": READING_VERSION,
        "file": sha256,
        "extractor": extractor.name,
        "extraction": dataclasses.asdict(extractor.extraction),
        "clock": dataclasses.asdict(length.clock),
        "video_frames": length.video_frames,
        "min_sec": length.min_sec,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureCache:
    """A folder of decoded passes: a local path or a URL."""

    folder: str

    def path(self, key: str) -> epath.Path:
        """Return the path of an entry, which may not exist."""
        return epath.Path(self.folder) / key[:2] / f"{key}.npz"

    def read(self, key: str) -> DecodedClip | None:
        """Return an entry, or None if it is missing or corrupt."""
        try:
            data = self.path(key).read_bytes()
            with np.load(io.BytesIO(data), allow_pickle=False) as entry:  # checks each CRC
                facts = parse_json(str(entry["facts"]))
                return DecodedClip(
                    waveform=entry["waveform"],
                    appearance=entry["appearance"],
                    motion=entry["motion"],
                    source_sec=facts["source_sec"],
                    corrections=tuple(facts["corrections"]),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, *ZIP_ERRORS):
            return None

    def write(self, key: str, decoded: DecodedClip) -> None:
        """Store a pass atomically."""
        facts = json.dumps({"source_sec": decoded.source_sec, "corrections": decoded.corrections})
        file = io.BytesIO()
        np.savez(
            file,
            waveform=decoded.waveform,
            appearance=decoded.appearance,
            motion=decoded.motion,
            facts=np.array(facts),
        )
        write_bytes(self.path(key), file.getvalue())
