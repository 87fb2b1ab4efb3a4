"""A synthetic clip's two files, and the record that is read from them."""

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

from tools.codes import PLAIN
from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets import ClipRecord, waveform_to_int16
from v2s_jax.datasets.synthetic.encoding import write_video
from v2s_jax.datasets.synthetic.floor import floor_bits
from v2s_jax.datasets.synthetic.recipe import ClipSpec
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor, ExtractorSpec, open_extractor
from v2s_jax.io import atomic_write
from v2s_jax.media.encode import CLIP_SUFFIX
from v2s_jax.types import Features


@dataclass(frozen=True)
class ClipTask:
    """A synthetic clip to make, unless its file is there, and to turn into a record."""

    recipe: ClipSpec
    folder: Path
    """Where the clip's two files lie."""
    overwrite: bool
    """Whether a file made by another recipe is made again."""
    extractor: ExtractorSpec
    """What makes its features."""

    @property
    def video(self) -> Path:
        """The clip itself: H.264 and its sound."""
        recipe = self.recipe
        name = f"{recipe.category}-{recipe.split}-{recipe.index:05d}"
        return self.folder / f"{name}{CLIP_SUFFIX[recipe.sound_codec]}"

    @property
    def label(self) -> Path:
        """The clip's category, events and recipe; written last, so it marks a finished clip."""
        return self.video.with_suffix(".json")


class Prepared(NamedTuple):
    """A clip's record, and its floor."""

    record: ClipRecord
    floor_bits: float | None
    """None for AAC, which changes the levels."""


def prepare_clip(task: ClipTask) -> Prepared:
    """Make the clip's file unless it is there, then read it back as a record.

    Raises InputError for a file that another recipe made, and for one that does not hold the
    clip's whole length.
    """
    label = _finished(task) or _write_clip(task)
    recipe = task.recipe
    record = read_clip(task.video, recipe.category, recipe.clock, opened(task.extractor))
    wanted = recipe.video_frames * recipe.clock.samples_per_video_frame
    if record.waveform.size != wanted:
        raise InputError(
            f"{task.video}: {record.waveform.size} samples instead of {wanted}: delete it and run "
            "again"
        )
    return Prepared(record, label["floor_bits"])


def check_finished(tasks: Iterable[ClipTask]) -> None:
    """Raise InputError for the first clip that is there and must not be taken or made again."""
    for task in tasks:
        _finished(task)


opened = functools.lru_cache(maxsize=1)(open_extractor)
"""Open once in each process."""


def read_clip(video_file: Path, category: str, clock: Clock, extractor: Extractor) -> ClipRecord:
    """Decode a video with sound into its record, named after the file.

    Raises InputError for a file that cannot be read in full.
    """
    video = media.probe(video_file)
    if video.warnings:
        raise InputError(f"{video.warnings[0]}: replace or delete it and run again")
    frames = media.read_video_frames(
        video, clock, extractor.picture_height_px, extractor.picture_width_px
    )
    return as_record(video_file.stem, category, frames, media.read_audio(video, clock), extractor)


def as_record(
    clip_id: str,
    category: str,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    waveform: Float32[np.ndarray, " samples"],
    extractor: Extractor,
    *,
    motion: bool = True,
) -> ClipRecord:
    """Return a clip's record from its pictures, in the extractor's size, and its sound.

    Without motion, which takes most of the time, that of the record has no columns.
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


def _finished(task: ClipTask) -> dict[str, Any] | None:
    """Return the label of a clip whose files are there and from this recipe.

    The label, one for all codecs of the sound, is what tells of the recipe.
    """
    if not task.label.exists():
        return None
    try:
        label: dict[str, Any] = json.loads(task.label.read_text())
        made: dict[str, Any] = label["recipe"]
        label["floor_bits"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{task.label}: not a clip's label: delete it and run again") from error
    wanted = dataclasses.asdict(task.recipe)
    differing = [f"{name} {made.get(name)}" for name in wanted if made.get(name) != wanted[name]]
    if differing and not task.overwrite:
        raise InputError(
            f"{task.label}: made with {', '.join(differing)}: use --overwrite to make it again, "
            "or another --out"
        )
    return None if differing or not task.video.exists() else label


def _write_clip(task: ClipTask) -> dict[str, Any]:
    recipe = task.recipe
    task.label.unlink(missing_ok=True)
    for suffix in set(CLIP_SUFFIX.values()):  # of a clip made before with another codec, too
        task.video.with_suffix(suffix).unlink(missing_ok=True)
    clip = recipe.make()
    write_video(task.video, clip, recipe.clock, recipe.probe, recipe.sound_codec)
    label = {
        "clip_id": clip.clip_id,
        "category": clip.category,
        "data_set": "synthetic",
        "events_sec": clip.events_sec.tolist(),
        "state": {
            name: value if isinstance(value, float) else list(value)
            for name, value in clip.state.items()
        },
        "floor_bits": None if recipe.sound_codec == "aac" else floor_bits(clip.track, *PLAIN),
        "floor_levels": PLAIN._asdict(),
        "recipe": dataclasses.asdict(recipe),
    }
    with atomic_write(task.label) as temporary:
        temporary.write_text(json.dumps(label, indent=2) + "\n")
    return label


def write_flow(task: ClipTask) -> Path:
    """Write the clip's exact flow beside its video, float32 [video_frames height width 2].

    One that is there stays if it was made by the same recipe, which the file holds too.
    """
    path = task.video.with_suffix(".flow.npz")
    recipe = dataclasses.asdict(task.recipe)
    if _recipe_of_flow(path) != recipe:
        flow = task.recipe.make(with_flow=True).flow
        assert flow is not None
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, flow=flow, recipe=json.dumps(recipe))
    return path


def _recipe_of_flow(path: Path) -> dict[str, Any] | None:
    """Return what a flow was made by; None for a file that is not there or does not say it."""
    try:
        with np.load(path) as kept:
            recipe: dict[str, Any] = json.loads(str(kept["recipe"]))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None
    return recipe
