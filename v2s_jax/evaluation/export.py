"""A folder that av-benchmark reads, for people who have its pretrained networks.

    OUT/gt_audio/CLIP.wav     true sounds, mono 16-bit PCM
    OUT/pred_audio/CLIP.wav   generated sounds, equally named: sounds are paired by name
    OUT/gt_video/CLIP.mp4     videos, where they were given
    OUT/captions.csv          name,caption: the text that CLAP compares with, here the category
    OUT/export.json           lengths, and the options of av-benchmark that follow; written last

Layout as read by github.com/hkchengrex/av-benchmark (README.md and av_bench/extract.py, August
2025): `--gt_audio OUT/gt_audio --pred_audio OUT/pred_audio --audio_length SECONDS`. A clip shorter
than SECONDS makes its loader look for another one without end, so it is the shortest clip's
length; below DESYNC_SEC the segments that its DeSync score averages do not exist.
"""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from v2s_jax.errors import InputError
from v2s_jax.evaluation.estimate import check_categories, check_pairs
from v2s_jax.io import atomic_write, check_writable, wrap_read_errors
from v2s_jax.media import write_wav

TRUE_FOLDER, GENERATED_FOLDER, VIDEO_FOLDER = "gt_audio", "pred_audio", "gt_video"
CAPTIONS, SUMMARY = "captions.csv", "export.json"
VIDEO_SUFFIX = ".mp4"
"""The only one that av-benchmark looks for."""
DESYNC_SEC = 4.8
"""av-benchmark averages DeSync over the first and the last 4.8 s of each clip."""
MS_PER_SEC = 1_000
NOT_IN_NAMES = frozenset('/\\\0:*?"<>|')
"""Characters that some file system refuses, or takes for a folder."""


@dataclass(frozen=True)
class Export:
    """What was written."""

    clip_count: int
    sample_rate_hz: int
    audio_length_sec: float
    """Length of the shortest clip, to the millisecond below: av-benchmark's --audio_length."""
    has_videos: bool
    options: tuple[str, ...]
    """Options of av-benchmark's evaluate.py for this folder."""


def export_folder(
    out: Path,
    clip_ids: Sequence[str],
    categories: Sequence[str],
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    sample_rate_hz: int,
    videos: Mapping[str, Path] | None = None,
) -> Export:
    """Write sounds, captions and, where given for every clip, copies of the videos.

    A folder with an export.json is whole. Raises InputError for names that cannot be files or that
    occur twice, sounds that do not pair, a video that is missing or no .mp4, and a folder that
    cannot be written or holds something, which av-benchmark would read as well.
    """
    check_pairs(generated, true)
    check_categories(categories, true)
    _check_names(clip_ids, len(true))
    if videos is not None:
        _check_videos(clip_ids, videos)
    check_unused(out)
    check_writable(out)
    for folder, sounds in ((TRUE_FOLDER, true), (GENERATED_FOLDER, generated)):
        for clip_id, waveform in zip(clip_ids, sounds, strict=True):
            write_wav(out / folder / f"{clip_id}.wav", waveform, sample_rate_hz)
    for clip_id in clip_ids if videos is not None else ():
        assert videos is not None
        with atomic_write(out / VIDEO_FOLDER / f"{clip_id}{VIDEO_SUFFIX}") as temporary:
            shutil.copyfile(videos[clip_id], temporary)
    with atomic_write(out / CAPTIONS) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["name", "caption"])
        captions = (category.replace("_", " ") for category in categories)
        rows.writerows(zip(clip_ids, captions, strict=True))
    export = _described(true, sample_rate_hz, has_videos=videos is not None)
    with atomic_write(out / SUMMARY) as temporary:
        temporary.write_text(json.dumps(asdict(export), indent=2) + "\n")
    return export


def check_unused(folder: Path) -> None:
    """Raise InputError unless a folder is new or empty."""
    with wrap_read_errors(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: holds something: name a new folder, or empty it")


def _described(
    true: Sequence[Float32[np.ndarray, " _"]], sample_rate_hz: int, *, has_videos: bool
) -> Export:
    # Whole milliseconds, down: what is asked for must be there.
    length_sec = min(map(len, true)) * MS_PER_SEC // sample_rate_hz / MS_PER_SEC
    options = [f"--audio_length={length_sec:g}"]
    if not has_videos or length_sec < DESYNC_SEC:
        options.append("--skip_video_related")
    return Export(len(true), sample_rate_hz, length_sec, has_videos, tuple(options))


def _check_names(clip_ids: Sequence[str], clips: int) -> None:
    if len(clip_ids) != clips:
        raise InputError(f"{len(clip_ids)} names, {clips} sounds: give the name of each clip")
    seen = set[str]()
    for name in clip_ids:
        if not name or NOT_IN_NAMES & set(name) or name.startswith("."):
            raise InputError(f"clip {name!r}: no name for a file: rename the clip")
        if name.casefold() in seen:
            raise InputError(f"clip {name!r} occurs twice: give each clip a name of its own")
        seen.add(name.casefold())


def _check_videos(clip_ids: Sequence[str], videos: Mapping[str, Path]) -> None:
    for clip_id in clip_ids:
        path = videos.get(clip_id)
        if path is None or path.suffix.lower() != VIDEO_SUFFIX:
            raise InputError(
                f"video of {clip_id}: {path}, wanted an {VIDEO_SUFFIX} file: give one for every "
                "clip, or none at all"
            )
        with wrap_read_errors(path):
            path.stat()
