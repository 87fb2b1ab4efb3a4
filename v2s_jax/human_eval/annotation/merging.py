"""Merge adjacent kept segments into clips of 2 to 10 s, and count."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from v2s_jax.human_eval.annotation.segments import SEGMENT_SEC, Segment
from v2s_jax.human_eval.annotation.votes import Decision

MAX_SEC = 10
"""Longest clip (paper: 2 to 10 s)."""


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
        last = clips[-1] if clips else None
        if (
            last is not None
            and (last.category, last.source) == (segment.category, segment.source)
            and last.end_sec == segment.start_sec
            and last.end_sec - last.start_sec + SEGMENT_SEC <= MAX_SEC
        ):
            clips[-1] = MergedClip(last.category, last.source, last.start_sec, segment.end_sec)
        else:
            clips.append(
                MergedClip(segment.category, segment.source, segment.start_sec, segment.end_sec)
            )
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
    names = sorted({segment.category for segment in segments})
    rows = [
        _counts(
            name,
            [segment for segment in segments if segment.category == name],
            decisions,
            [clip for clip in clips if clip.category == name],
        )
        for name in names
    ]
    return [*rows, _counts("all", segments, decisions, clips)]


def _counts(
    name: str,
    segments: Sequence[Segment],
    decisions: Mapping[str, Decision],
    clips: Sequence[MergedClip],
) -> Counts:
    counts = Counter(decisions[segment.segment_id] for segment in segments)
    return Counts(
        category=name,
        videos=len({(segment.category, segment.source) for segment in segments}),
        segments=len(segments),
        annotated=counts["kept"] + counts["removed"],
        removed=counts["removed"],
        undecided=counts["undecided"],
        clips=len(clips),
        hours=sum(clip.end_sec - clip.start_sec for clip in clips) / 3_600,
    )


def format_counts(rows: Sequence[Counts]) -> list[str]:
    """Format the counts as lines of a table."""
    width = max(len("category"), *(len(row.category) for row in rows))
    lines = [
        f"{'category':{width}}   videos  segments  annotated  removed  undecided    clips    hours"
    ]
    lines += [
        f"{row.category:{width}}  {row.videos:7,}  {row.segments:8,}  {row.annotated:9,}  "
        f"{row.removed:7,}  {row.undecided:9,}  {row.clips:7,}  {row.hours:7.2f}"
        for row in rows
    ]
    return lines
