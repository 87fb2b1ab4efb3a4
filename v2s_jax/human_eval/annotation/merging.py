"""Kept segments that lie side by side become clips of 2 to 10 s; and the counts of all that."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from v2s_jax.human_eval.annotation.segments import SEGMENT_SEC, Segment
from v2s_jax.human_eval.annotation.votes import Decision

LONGEST_SEC = 10
"""Longest clip (paper: 2 to 10 s)."""


@dataclass(frozen=True)
class Merged:
    """A clip: neighbouring kept segments of one raw video."""

    category: str
    source: str
    start_sec: int
    end_sec: int


def merge(segments: Iterable[Segment], decisions: Mapping[str, Decision]) -> list[Merged]:
    """Return the clips, by category, raw video and time.

    A run of kept segments longer than 10 s gives one clip after the other, each as long as
    possible: 12 s give 10 s and 2 s.
    """
    kept = [segment for segment in segments if decisions[segment.segment_id] == "kept"]
    kept.sort(key=lambda segment: (segment.category, segment.source, segment.start_sec))
    clips: list[Merged] = []
    for segment in kept:
        last = clips[-1] if clips else None
        if (
            last is not None
            and (last.category, last.source) == (segment.category, segment.source)
            and last.end_sec == segment.start_sec
            and last.end_sec - last.start_sec + SEGMENT_SEC <= LONGEST_SEC
        ):
            clips[-1] = Merged(last.category, last.source, last.start_sec, segment.end_sec)
        else:
            clips.append(
                Merged(segment.category, segment.source, segment.start_sec, segment.end_sec)
            )
    return clips


@dataclass(frozen=True)
class Counts:
    """What the paper reports of its cleaning, for one category or for all."""

    category: str
    videos: int
    """Raw videos."""
    segments: int
    annotated: int
    """Segments with three votes or more in both modalities."""
    removed: int
    undecided: int
    """Segments with fewer votes: they are in no clip."""
    clips: int
    hours: float
    """Of all clips together."""


def count(
    segments: Sequence[Segment], decisions: Mapping[str, Decision], clips: Sequence[Merged]
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
    clips: Sequence[Merged],
) -> Counts:
    found = Counter(decisions[segment.segment_id] for segment in segments)
    return Counts(
        category=name,
        videos=len({(segment.category, segment.source) for segment in segments}),
        segments=len(segments),
        annotated=found["kept"] + found["removed"],
        removed=found["removed"],
        undecided=found["undecided"],
        clips=len(clips),
        hours=sum(clip.end_sec - clip.start_sec for clip in clips) / 3_600,
    )


def table(rows: Sequence[Counts]) -> list[str]:
    """Return the counts as lines for people."""
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
