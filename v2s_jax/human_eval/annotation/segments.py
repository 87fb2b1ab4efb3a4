"""Raw videos in segments of 2 s, which people judge one by one."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from v2s_jax import media
from v2s_jax.datasets.folders.layout import Source
from v2s_jax.errors import InputError
from v2s_jax.human_eval.annotation.tables import write_csv
from v2s_jax.io import file_hash, wrap_read_errors

SEGMENT_SEC = 2
"""Length of a segment (paper: 2 s)."""

PICTURE_WIDTH_PX = 320
"""Widest picture that is shown: a page of a hundred segments stays below some 10 MB (ours)."""

SEGMENTS_FILE = "segments.csv"
FIELDS = ("segment_id", "category", "source", "start_sec")


@dataclass(frozen=True)
class Segment:
    """Two seconds of a raw video."""

    segment_id: str
    """Unique, and a file name."""
    category: str
    source: str
    """The raw video's path in its folder."""
    start_sec: int

    @property
    def end_sec(self) -> int:
        """Where it ends in the raw video."""
        return self.start_sec + SEGMENT_SEC


def segments_of(source: Source, video: media.Video) -> list[Segment]:
    """Return the whole segments of a video; what is left at its end, under 2 s, is in none.

    Raises InputError when it cannot be read.
    """
    # The id tells nothing of the clip to those who vote, and holds for any file name. It is of the
    # bytes too: another file under the same name has segments, and votes, of its own.
    path = Path(source.path)
    with wrap_read_errors(path):
        named = source.clip_id.encode() + file_hash(path)
    stem = hashlib.sha256(named).hexdigest()[:12]
    return [
        Segment(f"{stem}-{number:03d}", source.category, source.name, number * SEGMENT_SEC)
        for number in range(int(video.duration_sec // SEGMENT_SEC))
    ]


def write_media(segment: Segment, video: media.Video, folder: Path) -> None:
    """Write the segment's picture without sound, and its sound without picture."""
    picture, sound = media_paths(segment.segment_id, folder)
    start, end = float(segment.start_sec), float(segment.end_sec)
    if not picture.exists():
        media.write_part(video, start, end, picture, picture_width_px=PICTURE_WIDTH_PX, sound=False)
    if not sound.exists():
        media.write_part(video, start, end, sound, picture=False)


def media_paths(segment_id: str, folder: Path) -> tuple[Path, Path]:
    """Return where a segment's picture and sound lie."""
    return folder / f"{segment_id}.mp4", folder / f"{segment_id}.m4a"


def write_segments(path: Path, segments: Iterable[Segment]) -> None:
    """Write the list of segments as CSV."""
    write_csv(path, FIELDS, ([getattr(segment, field) for field in FIELDS] for segment in segments))


def read_segments(path: Path) -> Iterator[Segment]:
    """Yield the segments of a list.

    Raises InputError when it cannot be read, or a line is not a segment.
    """
    again = "cut again (v2s annotate cut)"
    with wrap_read_errors(path), path.open(encoding="utf-8", newline="") as file:
        try:
            rows = list(csv.DictReader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): {again}") from error
    for row in rows:
        try:
            yield Segment(row["segment_id"], row["category"], row["source"], int(row["start_sec"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: {row} is not a segment: {again}") from error
