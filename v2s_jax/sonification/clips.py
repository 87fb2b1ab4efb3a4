"""The videos that are named, found and opened, with room for their outputs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.media import VIDEO_SUFFIXES, Video, probe
from v2s_jax.sampling import GenerationResult
from v2s_jax.sonification.outputs import check_outputs, take_stem
from v2s_jax.sonification.report import Report


@dataclass
class Clip:
    """A video on its way: what is known of it, and what went wrong while it was read."""

    video: Video
    stem: Path
    samples: int
    content_hash: bytes
    error: str | None = None
    prefix_samples: int = 0
    takes: list[tuple[int, GenerationResult]] = field(default_factory=list)
    """Seed and sound of those that have ended."""


def find_videos(named: Sequence[Path | str], out: Path) -> list[Path]:
    """List the files named and the videos right inside the folders named, each once.

    Raises InputError for a path that is not there, a folder without a video, and a folder that is
    also the output's, whose results would be taken for videos the next time.
    """
    found: dict[Path, None] = {}
    for path in map(Path, named):
        with wrap_read_errors(path):
            found.update(dict.fromkeys(_videos_of(path, out)))
    return list(found)


def _videos_of(path: Path, out: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: check --video")
    if not path.is_dir():
        return [path]
    if path.resolve() == out.resolve():
        raise InputError(f"{path}: is also the output folder: choose another --out")
    inside = sorted(p for p in path.iterdir() if _is_video_name(p))
    if not inside:
        raise InputError(f"{path}: no video in this folder: name one that holds videos")
    return inside


def _is_video_name(path: Path) -> bool:
    # Hidden ones are leftovers of killed runs, or of other programs.
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def open_clips(
    sources: Sequence[Path],
    out: Path,
    config: Config,
    overwrite: bool,
    takes: int,
    report: Report,
) -> list[Clip]:
    """Probe each video and make sure that its outputs can be written."""
    twins = {stem for stem, count in Counter(s.stem for s in sources).items() if count > 1}
    named = {source.resolve() for source in sources}
    clips = []
    for source in sources:
        stem = out / f"{source.stem}_sound"
        try:
            if source.stem in twins:
                raise InputError(
                    f"{source}: another video is also named {source.stem}: sound them into "
                    "different folders"
                )
            for rank in range(1, takes + 1):
                check_outputs(take_stem(stem, rank, takes), overwrite, named)
            clips.append(_open_clip(source, stem, config))
        except InputError as error:
            report.failed[source] = str(error)
    return clips


def _open_clip(source: Path, stem: Path, config: Config) -> Clip:
    video = probe(source)
    samples = config.clock.samples(video.duration_sec)
    if samples < 1:
        raise InputError(
            f"{source}: lasts {float(video.duration_sec):.6f} s, which is shorter than one sample "
            "of sound: give a longer video"
        )
    with wrap_read_errors(source):
        return Clip(video, stem, samples, file_hash(source))


def leaves_some(
    clip: Clip, prefix: UInt8[np.ndarray, " prefix_samples"] | None, report: Report
) -> bool:
    """Say whether the prefix is shorter than the clip; report it otherwise."""
    clip.prefix_samples = 0 if prefix is None else len(prefix)
    if clip.prefix_samples < clip.samples:
        return True
    report.failed[clip.video.path] = (
        f"{clip.video.path}: its {clip.samples} samples of sound are no more than the prefix's "
        f"{clip.prefix_samples}: give a shorter --prefix"
    )
    return False
