"""Segments: 2 s of a raw video, judged one by one; adjacent kept ones are merged into clips."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from v2s_jax import media
from v2s_jax.csv_files import read_csv, write_csv
from v2s_jax.datasets.folders.layout import Source
from v2s_jax.errors import InputError, printable
from v2s_jax.io import file_hash, wrap_read_errors

SEGMENT_SEC = 2
"""Length of a segment (paper: 2 s)."""
MAX_HOURS = 12
"""Longest raw video (ours)."""
MAX_SEC = 10
"""Longest clip (paper: 2 to 10 s)."""
MAX_WIDTH_PX = 320
"""Width of the videos on a page: one of a hundred segments is about 10 MB (ours)."""
SEGMENTS_FILE = "segments.csv"
FIELDS = ("segment_id", "category", "source", "start_sec")

Decision = Literal["kept", "removed", "undecided"]


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

    Raises InputError when the file cannot be read, or claims to last longer than any raw clip.
    """
    hours = float(video.duration_sec) / 3_600
    if hours > MAX_HOURS:
        raise InputError(
            f"{source.path}: lasts {hours:,.0f} hours by its times, at most {MAX_HOURS} are cut: "
            "copy or record it again"
        )
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
    write_csv(path, FIELDS, (list(vars(one).values()) for one in segments))


def read_segments(path: Path) -> list[Segment]:
    """Return the segments of a list; raise InputError when it cannot be read."""
    fix, segments = "run v2s annotate cut again", []
    for place, (segment_id, category, source, start_sec) in read_csv(path, FIELDS, fix):
        if not start_sec.isdecimal():
            raise InputError(f"{place}: start_sec {start_sec!r} is no number: {fix}")
        segments.append(Segment(segment_id, category, source, int(start_sec)))
    return segments


@dataclass(frozen=True)
class MergedClip:
    """A clip: adjacent kept segments of one raw video."""

    category: str
    source: str
    start_sec: int
    end_sec: int


def merge(segments: Iterable[Segment], decisions: Mapping[str, Decision]) -> list[MergedClip]:
    """Return the clips, by category, raw video and time.

    More than 10 s of kept segments are split into clips as long as possible: 12 s into 10 and 2.
    """
    kept = [segment for segment in segments if decisions[segment.segment_id] == "kept"]
    kept.sort(key=lambda segment: (segment.category, segment.source, segment.start_sec))
    clips: list[MergedClip] = []
    for segment in kept:
        place = segment.category, segment.source, segment.start_sec
        last = clips[-1] if clips else None
        if (
            last is not None
            and (last.category, last.source, last.end_sec) == place
            and segment.end_sec - last.start_sec <= MAX_SEC
        ):
            clips[-1] = replace(last, end_sec=segment.end_sec)
        else:
            clips.append(MergedClip(*place, segment.end_sec))
    return clips


@dataclass(frozen=True)
class Counts:
    """The counts that the paper reports, for one category or for all."""

    category: str
    videos: int
    """Raw videos."""
    segments: int
    annotated: int
    """Segments with at least three votes on both modalities."""
    removed: int
    undecided: int
    """Segments with fewer votes, which are in no clip."""
    clips: int
    hours: float
    """Of all clips together."""


def count_decisions(
    segments: Sequence[Segment], decisions: Mapping[str, Decision], clips: Sequence[MergedClip]
) -> list[Counts]:
    """Return the counts of each category, by name, and of all."""
    rows = []
    names = sorted({segment.category for segment in segments})
    for label, members in [*((name, {name}) for name in names), ("all", set(names))]:
        own = [segment for segment in segments if segment.category in members]
        lengths_sec = [one.end_sec - one.start_sec for one in clips if one.category in members]
        counts = Counter(decisions[segment.segment_id] for segment in own)
        row = Counts(
            category=label,
            videos=len({(segment.category, segment.source) for segment in own}),
            segments=len(own),
            annotated=counts["kept"] + counts["removed"],
            removed=counts["removed"],
            undecided=counts["undecided"],
            clips=len(lengths_sec),
            hours=sum(lengths_sec) / 3_600,
        )
        rows.append(row)
    return rows


def format_counts(rows: Sequence[Counts]) -> list[str]:
    """Format the counts as lines of a table."""
    width = max(len("category"), *(len(printable(row.category)) for row in rows))
    names = ("videos", "segments", "annotated", "removed", "undecided", "clips", "hours")
    lines = [f"{'category':{width}}" + "".join(f"{name:>11}" for name in names)]
    for row in rows:
        counts = "".join(f"{getattr(row, name):11,}" for name in names[:-1])
        lines.append(f"{printable(row.category):{width}}{counts}{row.hours:11.2f}")
    return lines
