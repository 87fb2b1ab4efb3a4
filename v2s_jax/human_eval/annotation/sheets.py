"""Sheets of questions, as CSV and as a page for a browser; their votes, and what they decide.

Three annotators judge the audio of a segment, and three its video. A modality fails when most of
its votes are no; a segment is kept when neither fails: "yes" and "sort of" both count for it, as in
the paper. The paper does not say how it combines three votes: the majority is our choice.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from v2s_jax.csv_files import read_csv, write_csv
from v2s_jax.errors import InputError
from v2s_jax.human_eval.annotation.segments import Decision, Segment, media_paths
from v2s_jax.web_pages import data_url, write_page

Modality = Literal["audio", "video"]
MODALITIES: tuple[Modality, ...] = ("audio", "video")
OLD_MODALITIES = {"sound": "audio", "picture": "video"}
"""Names in sheets of earlier versions."""

NO = "no"
ANSWERS = ("yes", "sort of", NO)
VOTES_NEEDED = 3
"""Annotators of each modality of a segment (paper: three)."""

VOTE_FIELDS = ("segment_id", "modality", "annotator", "answer")

PAGE_SEGMENTS = 100
"""Segments on a page: about 15 minutes for one annotator (ours)."""

TEMPLATE = Path(__file__).with_name("page.html")
ORDER_SEED = 0  # shuffles segments

QUESTIONS: dict[Modality, str] = {
    "audio": "Do you hear this: {category}?",
    "video": "Do you see what makes this sound: {category}?",
}
MEANINGS: dict[Modality, tuple[str, str, str]] = {
    "audio": ("it is the main sound", "it competes with other sounds", "other sounds prevail"),
    "video": ("all the time", "some of the time", "not, or hardly ever"),
}
"""What the ANSWERS to each question mean, as in the paper."""


def write_sheets(
    folder: Path, segments: Sequence[Segment], media: Path, page_segments: int
) -> list[Path]:
    """Write the sheets and pages of both modalities; return the pages.

    The order is a fixed shuffle, so that adjacent segments of a video are apart.
    """
    shuffled = list(segments)
    random.Random(ORDER_SEED).shuffle(shuffled)
    pages = []
    for modality in MODALITIES:
        for number, first in enumerate(range(0, len(shuffled), page_segments)):
            batch = shuffled[first : first + page_segments]
            stem = f"{modality}-{number:03d}"
            rows = ((one.segment_id, modality, "", "", one.category) for one in batch)
            write_csv(folder / f"{stem}.csv", (*VOTE_FIELDS, "category"), rows)
            pages.append(folder / f"{stem}.html")
            _write_page(pages[-1], modality, batch, media)
    return pages


def _write_page(path: Path, modality: Modality, segments: Sequence[Segment], media: Path) -> None:
    """Write a page with the media of its segments."""
    items = []
    for segment in segments:
        video, audio = media_paths(segment.segment_id, media)
        of_modality = {"audio": (audio, "audio/mp4"), "video": (video, "video/mp4")}
        question = QUESTIONS[modality].format(category=segment.category)
        data = data_url(*of_modality[modality])
        items.append({"id": segment.segment_id, "question": question, "data": data})
    page = {
        "storage_key": f"v2s_jax annotation {path.stem} {segments[0].segment_id}",
        "page": path.stem,
        "modality": modality,
        "fields": VOTE_FIELDS,
        "answers": list(zip(ANSWERS, MEANINGS[modality], strict=True)),
        "items": items,
    }
    write_page(path, TEMPLATE, page=page)


@dataclass(frozen=True)
class Vote:
    """An annotator's answer about one modality of a segment."""

    segment_id: str
    modality: Modality
    annotator: str
    answer: str


def read_votes(paths: Sequence[Path], segment_ids: Iterable[str]) -> list[Vote]:
    """Return the votes of all files, without lines that have no answer yet.

    Raises InputError, with file and line, for an unknown segment, modality or answer, a vote
    without a name, and a second vote of one annotator.
    """
    known = set(segment_ids)
    places: dict[tuple[str, str, str], str] = {}
    votes = []
    for path in paths:
        for place, cells in read_csv(path, VOTE_FIELDS):
            vote = _parse_vote([cell.strip() for cell in cells], place, known)
            if vote is None:
                continue
            key = (vote.segment_id, vote.modality, vote.annotator)
            if key in places:
                raise InputError(
                    f"{place}: {vote.annotator} voted on the {vote.modality} of {vote.segment_id} "
                    f"before ({places[key]}): keep one of them"
                )
            places[key] = place
            votes.append(vote)
    return votes


def _parse_vote(cells: Sequence[str], place: str, known: set[str]) -> Vote | None:
    segment_id, modality, annotator, answer = cells
    if not answer:
        return None
    if segment_id not in known:
        raise InputError(f"{place}: no segment {segment_id!r}: give the votes of these segments")
    modality = OLD_MODALITIES.get(modality, modality)
    if modality not in MODALITIES:
        raise InputError(f"{place}: modality {modality!r}: use {' or '.join(MODALITIES)}")
    if answer.lower() not in ANSWERS:
        raise InputError(f"{place}: answer {answer!r}: use {', '.join(ANSWERS)}")
    if not annotator:
        raise InputError(f"{place}: vote without a name: fill in the column annotator")
    return Vote(segment_id, modality, annotator, answer.lower())


def decide(
    segment_ids: Sequence[str], votes: Iterable[Vote], *, one_no_removes: bool = False
) -> dict[str, Decision]:
    """Return the decision on each segment.

    It is undecided with fewer than three votes on either modality. With `one_no_removes`, a single
    no fails a modality.
    """
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for vote in votes:
        answers[vote.segment_id, vote.modality][vote.answer] += 1

    def decision(segment_id: str) -> Decision:
        counts = [answers[segment_id, modality] for modality in MODALITIES]
        if any(one.total() < VOTES_NEEDED for one in counts):
            return "undecided"
        fails = (one[NO] >= 1 if one_no_removes else 2 * one[NO] > one.total() for one in counts)
        return "removed" if any(fails) else "kept"

    return {segment_id: decision(segment_id) for segment_id in segment_ids}
