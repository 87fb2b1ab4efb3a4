"""Segments: 2 s of a raw video, which annotators judge one by one."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from v2s_jax import media
from v2s_jax.datasets.folders.layout import Source
from v2s_jax.errors import InputError
from v2s_jax.human_eval.csv_files import write_csv
from v2s_jax.io import file_hash, wrap_read_errors

SEGMENT_SEC = 2
"""Length of a segment (paper: 2 s)."""

MAX_WIDTH_PX = 320
"""Width of the videos on a page: one of a hundred segments is about 10 MB (ours)."""

SEGMENTS_FILE = "segments.csv"
FIELDS = ("segment_id", "category", "source", "start_sec")


@dataclass(frozen=True)
class Segment:
    """Two seconds of a raw video."""

    segment_id: str
    """Unique; also a file name."""
    category: str
    source: str
    """Path of the raw video in its folder."""
    start_sec: int

    @property
    def end_sec(self) -> int:
        """End in the raw video."""
        return self.start_sec + SEGMENT_SEC


def split_into_segments(source: Source, video: media.Video) -> list[Segment]:
    """Return the segments of a video, without a rest under 2 s at its end.

    Raises InputError when the file cannot be read.
    """
    # A hash does not reveal the clip to annotators and is a valid file name. It includes the bytes:
    # another file under the same name gets other segments, and so other votes.
    path = Path(source.path)
    with wrap_read_errors(path):
        content = source.clip_id.encode() + file_hash(path)
    stem = hashlib.sha256(content).hexdigest()[:12]
    return [
        Segment(f"{stem}-{number:03d}", source.category, source.name, number * SEGMENT_SEC)
        for number in range(int(video.duration_sec // SEGMENT_SEC))
    ]


def write_media(segment: Segment, video: media.Video, folder: Path) -> None:
    """Write the segment's video without audio, and its audio, unless they exist."""
    silent, audio = media_paths(segment.segment_id, folder)
    start, end = float(segment.start_sec), float(segment.end_sec)
    if not silent.exists():
        media.write_part(video, start, end, silent, max_width_px=MAX_WIDTH_PX, with_audio=False)
    if not audio.exists():
        media.write_part(video, start, end, audio, with_video=False)


def media_paths(segment_id: str, folder: Path) -> tuple[Path, Path]:
    """Return the paths of a segment's silent video and of its audio."""
    return folder / f"{segment_id}.mp4", folder / f"{segment_id}.m4a"


def write_segments(path: Path, segments: Iterable[Segment]) -> None:
    """Write the list of segments as CSV."""
    write_csv(path, FIELDS, ([getattr(segment, field) for field in FIELDS] for segment in segments))


def read_segments(path: Path) -> Iterator[Segment]:
    """Yield the segments of a list; raise InputError when it cannot be read."""
    fix = "run v2s annotate cut again"
    with wrap_read_errors(path), path.open(encoding="utf-8", newline="") as file:
        try:
            rows = list(csv.DictReader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): {fix}") from error
    for row in rows:
        try:
            yield Segment(row["segment_id"], row["category"], row["source"], int(row["start_sec"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: {row} is not a segment: {fix}") from error
