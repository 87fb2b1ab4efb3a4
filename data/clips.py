"""One clip from its file to its record, and one synthetic clip to its file."""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.synthetic.generator import make_clip
from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor, ExtractorSpec, open_extractor
from v2s_jax.files import whole_file
from v2s_jax.records import ClipRecord, waveform_to_int16


@dataclass(frozen=True)
class Recipe:
    """Everything that a synthetic clip depends on; kept beside its file."""

    category: str
    split: str
    index: int
    seed: int
    video_frames: int
    clock: Clock
    generator: str
    """Digest of the generator's source files."""


@dataclass(frozen=True)
class ClipTask:
    """A synthetic clip to make, unless its file is there, and to turn into a record."""

    recipe: Recipe
    folder: Path
    """Where the clip's two files lie."""
    overwrite: bool
    """Whether a file made by another recipe is made again."""
    extractor: ExtractorSpec
    """What makes its features."""

    @property
    def video(self) -> Path:
        """The clip itself: H.264 and FLAC."""
        recipe = self.recipe
        return self.folder / f"{recipe.category}-{recipe.split}-{recipe.index:05d}.mp4"

    @property
    def label(self) -> Path:
        """The clip's category, events and recipe; written last, so it marks a finished clip."""
        return self.video.with_suffix(".json")


def generator_digest() -> str:
    """Return a short digest of the generator's sources, which changes when they do."""
    sources = sorted((Path(__file__).parent / "synthetic").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def prepare_clip(task: ClipTask) -> ClipRecord:
    """Make the clip's file unless it is there, then read it back as a record.

    Raises InputError for a file that another recipe made, and for one that does not hold the
    clip's whole length.
    """
    if not _is_finished(task):
        _write_clip(task)
    extractor = _opened(task.extractor)
    record = read_clip(task.video, task.recipe.category, task.recipe.clock, extractor)
    wanted = task.recipe.video_frames * task.recipe.clock.samples_per_video_frame
    if record.waveform.size != wanted:
        raise InputError(
            f"{task.video}: {record.waveform.size} samples instead of {wanted}: delete it and run "
            "again"
        )
    return record


_opened = functools.lru_cache(maxsize=1)(open_extractor)
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
    features = extractor.extract(frames)
    return ClipRecord(
        clip_id=video_file.stem,
        category=category,
        waveform=waveform_to_int16(media.read_sound(video, clock)),
        appearance=features.appearance,
        motion=features.motion,
    )


def _is_finished(task: ClipTask) -> bool:
    if not (task.label.exists() and task.video.exists()):
        return False
    try:
        made: dict[str, Any] = json.loads(task.label.read_text())["recipe"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{task.label}: not a clip's label: delete it and run again") from error
    wanted = dataclasses.asdict(task.recipe)
    differing = [f"{name} {made.get(name)}" for name in wanted if made.get(name) != wanted[name]]
    if differing and not task.overwrite:
        raise InputError(
            f"{task.video}: made with {', '.join(differing)}: use --overwrite to make it again, "
            "or another --out"
        )
    return not differing


def _write_clip(task: ClipTask) -> None:
    recipe = task.recipe
    task.label.unlink(missing_ok=True)
    clip = make_clip(
        recipe.category,
        recipe.split,
        recipe.index,
        recipe.seed,
        recipe.clock,
        recipe.video_frames,
    )
    clock = recipe.clock
    media.write_clip(task.video, clip.frames, clock.fps, clip.waveform, clock.sample_rate_hz)
    label = {
        "clip_id": clip.clip_id,
        "category": clip.category,
        "events_sec": clip.events_sec.tolist(),
        "recipe": dataclasses.asdict(recipe),
    }
    with whole_file(task.label) as temporary:
        temporary.write_text(json.dumps(label, indent=2) + "\n")
