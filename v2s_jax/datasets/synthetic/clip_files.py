"""The files of a synthetic clip (video and label), and the record read back from them."""

import dataclasses
import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets import ClipRecord, waveform_to_int16
from v2s_jax.datasets.synthetic.encoding import write_video
from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, floor_bits
from v2s_jax.datasets.synthetic.spec import ClipSpec
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor, ExtractorSpec, open_extractor
from v2s_jax.io import atomic_write
from v2s_jax.json_text import parse_json
from v2s_jax.media.encode import CLIP_SUFFIX
from v2s_jax.types import Features


@dataclass(frozen=True)
class ClipTask:
    """A clip to render, unless its files exist, and to convert to a record."""

    clip: ClipSpec
    folder: Path
    """Folder of the clip's files."""
    overwrite: bool
    """Replace files that have another spec."""
    extractor: ExtractorSpec

    @property
    def video(self) -> Path:
        """The clip: H.264 and audio."""
        clip = self.clip
        name = f"{clip.category}-{clip.split}-{clip.index:05d}"
        return self.folder / f"{name}{CLIP_SUFFIX[clip.audio_codec]}"

    @property
    def label(self) -> Path:
        """Category, events and spec of the clip. Written last, so it marks a finished clip."""
        return self.video.with_suffix(".json")


class PreparedClip(NamedTuple):
    """A clip's record, and its floor."""

    record: ClipRecord
    floor_bits: float | None
    """None for AAC, which changes the levels."""


def prepare_clip(task: ClipTask) -> PreparedClip:
    """Render the clip's file unless it exists, then read it back as a record.

    Raises InputError if the file has another spec or another length.
    """
    label = _read_label(task) or _write_clip(task)
    clip = task.clip
    record = read_clip(task.video, clip.category, clip.clock, open_extractor_once(task.extractor))
    samples = clip.video_frames * clip.clock.samples_per_video_frame
    if record.waveform.size != samples:
        raise InputError(
            f"{task.video}: {record.waveform.size} samples instead of {samples}: delete it and "
            "rerun the command"
        )
    return PreparedClip(record, label["floor_bits"])


def check_existing(tasks: Iterable[ClipTask]) -> None:
    """Raise InputError for the first existing clip that can neither be used nor replaced."""
    for task in tasks:
        _read_label(task)


open_extractor_once = functools.lru_cache(maxsize=1)(open_extractor)
"""Open an extractor, once per process."""


def read_clip(video_file: Path, category: str, clock: Clock, extractor: Extractor) -> ClipRecord:
    """Decode a video with audio to a record, named after the file.

    Raises InputError if the file cannot be read completely.
    """
    video = media.probe(video_file)
    if video.warnings:
        raise InputError(f"{video.warnings[0]}: replace or delete it and rerun the command")
    frames = media.read_video_frames(
        video, clock, extractor.frame_height_px, extractor.frame_width_px
    )
    return to_record(video_file.stem, category, frames, media.read_audio(video, clock), extractor)


def to_record(
    clip_id: str,
    category: str,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    waveform: Float32[np.ndarray, " samples"],
    extractor: Extractor,
    *,
    motion: bool = True,
) -> ClipRecord:
    """Return a clip's record from its video frames, in the extractor's size, and its audio.

    Without motion, which takes most of the time, the record's motion has no columns.
    """
    if motion:
        features = extractor.extract(frames)
    else:
        appearance = np.stack(list(extractor.stream_appearance(frames)))
        features = Features(appearance, np.zeros((len(appearance), 0), np.float16))
    return ClipRecord(
        clip_id=clip_id,
        category=category,
        waveform=waveform_to_int16(waveform),
        appearance=features.appearance,
        motion=features.motion,
    )


def _read_label(task: ClipTask) -> dict[str, Any] | None:
    """Return the label of an existing clip with this spec; None if the clip must be rendered."""
    if not task.label.exists():
        return None
    try:
        label: dict[str, Any] = parse_json(task.label.read_text())
        existing: dict[str, Any] = label["recipe"]
        label["floor_bits"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{task.label}: invalid: delete it and rerun the command") from error
    spec = dataclasses.asdict(task.clip)
    diff = [f"{name} {existing.get(name)}" for name in spec if existing.get(name) != spec[name]]
    if diff and not task.overwrite:
        raise InputError(
            f"{task.label}: has {', '.join(diff)}: use --overwrite to replace it, or another --out"
        )
    return None if diff or not task.video.exists() else label


def _write_clip(task: ClipTask) -> dict[str, Any]:
    spec = task.clip
    task.label.unlink(missing_ok=True)
    for suffix in set(CLIP_SUFFIX.values()):  # also a clip with another codec
        task.video.with_suffix(suffix).unlink(missing_ok=True)
    clip = spec.render()
    write_video(task.video, clip, spec.clock, spec.probe, spec.audio_codec)
    lossy = spec.audio_codec == "aac"
    label = {
        "clip_id": clip.clip_id,
        "category": clip.category,
        "data_set": "synthetic",
        "events_sec": clip.events_sec.tolist(),
        "state": {
            name: value if isinstance(value, float) else list(value)
            for name, value in clip.state.items()
        },
        "floor_bits": None if lossy else floor_bits(clip.track, *DEFAULT_ALPHABET),
        "floor_levels": DEFAULT_ALPHABET._asdict(),
        "recipe": dataclasses.asdict(spec),
    }
    with atomic_write(task.label) as temporary:
        temporary.write_text(json.dumps(label, indent=2) + "\n")
    return label


def write_flow(task: ClipTask) -> Path:
    """Write the exact optical flow next to the video, float32 [video_frames height width 2].

    An existing file with the same spec, which is stored in it, is kept.
    """
    path = task.video.with_suffix(".flow.npz")
    spec = dataclasses.asdict(task.clip)
    if _read_flow_spec(path) != spec:
        flow = task.clip.render(with_flow=True).flow
        assert flow is not None
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, flow=flow, recipe=json.dumps(spec))
    return path


def _read_flow_spec(path: Path) -> dict[str, Any] | None:
    """Return the clip spec stored in a flow file; None if the file is missing or invalid."""
    try:
        with np.load(path) as arrays:
            spec: dict[str, Any] = parse_json(str(arrays["recipe"]))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None
    return spec
