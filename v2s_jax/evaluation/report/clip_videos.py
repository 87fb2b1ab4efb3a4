"""Where the videos of clips are, whose records hold features and sound alone."""

import json
from collections.abc import Sequence
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.evaluation.report.clip_media import ClipVideo
from v2s_jax.evaluation.selection import Selection
from v2s_jax.io import wrap_read_errors
from v2s_jax.media import VIDEO_SUFFIXES

MANIFEST = "manifest.jsonl"
"""Beside a data set made of a folder of videos: which of its files became which clip."""


def find_videos(clips: Selection, folder: Path | None) -> dict[str, ClipVideo]:
    """Return the videos of clips that are found, by clip.

    Those of synthetic sets lie beside them (clips/CATEGORY/CLIP.mp4). Those of a set made of a
    folder are found in `folder`, unless it is None, by the manifest; a file that is gone is left
    out.

    Raises InputError when `folder` is none, the data have no manifest, or none is there.
    """
    if folder is None:
        return _beside(clips)
    if not folder.is_dir():
        raise InputError(f"--videos {folder}: no such folder: give that of the videos")
    manifest = Path(str(clips.data.directory)).parent / MANIFEST
    with wrap_read_errors(manifest):
        lines = manifest.read_text(encoding="utf-8").splitlines()
    fps = clips.data.clock.fps
    try:
        rows = {row["clip_id"]: row for row in map(json.loads, lines) if row["clip_id"]}
        found = {
            clip_id: ClipVideo(folder / row["source"], float(row["video_frames"] / fps))
            for clip_id, row in rows.items()
            if clip_id in clips.clip_ids and row["status"] == "used"
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}: not a manifest: make the data set again") from error
    there = {clip_id: video for clip_id, video in found.items() if video.path.is_file()}
    if clips.clip_ids and not there:
        raise InputError(
            f"--videos {folder}: none of the {len(clips)} clips is there: give the folder that the "
            "data set was made of"
        )
    return there


def _beside(clips: Selection) -> dict[str, ClipVideo]:
    folder = Path(str(clips.data.directory)).parent.parent / "clips"
    rate_hz = clips.data.clock.sample_rate_hz
    found = {}
    for clip_id, category, samples in zip(
        clips.clip_ids, clips.categories, clips.samples, strict=True
    ):
        path = _first([folder / category / f"{clip_id}{end}" for end in sorted(VIDEO_SUFFIXES)])
        if path is not None:
            found[clip_id] = ClipVideo(path, samples / rate_hz)
    return found


def _first(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
