"""Votes in, a decision for each segment out.

Sound and picture are judged apart, by three people each. A modality fails when most of its votes
say no; a segment is kept when neither fails: "yes" and "sort of" both count for it, as in the
paper. How the paper combines three votes is not known: that most of them decide is our reading.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from v2s_jax.errors import InputError
from v2s_jax.human_eval.pages import read_given

Modality = Literal["sound", "picture"]
MODALITIES: tuple[Modality, ...] = ("sound", "picture")

YES, SORT_OF, NO = "yes", "sort of", "no"
ANSWERS = (YES, SORT_OF, NO)

VOTES_NEEDED = 3
"""People who judge each modality of a segment (paper: three)."""

VOTE_FIELDS = ("segment_id", "modality", "annotator", "answer")

Decision = Literal["kept", "removed", "undecided"]


@dataclass(frozen=True)
class Vote:
    """One person's answer about one modality of a segment."""

    segment_id: str
    modality: Modality
    annotator: str
    answer: str


def read_votes(paths: Sequence[Path], segment_ids: Iterable[str]) -> list[Vote]:
    """Return the votes of all files; lines without an answer are not voted on yet.

    Raises InputError, with file and line, for an unknown segment, modality or answer, a vote
    without a name, and one person's second vote on the same.
    """
    known = set(segment_ids)
    places: dict[tuple[str, str, str], str] = {}
    votes = []
    for path in paths:
        for line, row in enumerate(read_given(path, VOTE_FIELDS), 2):
            place = f"{path}: line {line}"
            vote = _vote(row, place, known)
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


def _vote(row: dict[str, str], place: str, known: set[str]) -> Vote | None:
    segment_id, modality, annotator, answer = (row[field] for field in VOTE_FIELDS)
    if not answer:
        return None
    if segment_id not in known:
        raise InputError(f"{place}: no segment {segment_id!r}: give the votes of these segments")
    found = next((name for name in MODALITIES if name == modality), None)
    if found is None:
        raise InputError(f"{place}: modality {modality!r}: use {' or '.join(MODALITIES)}")
    if answer.lower() not in ANSWERS:
        raise InputError(f"{place}: answer {answer!r}: use {', '.join(ANSWERS)}")
    if not annotator:
        raise InputError(f"{place}: nobody's vote: fill in the column annotator")
    return Vote(segment_id, found, annotator, answer.lower())


def decide(
    segment_ids: Sequence[str], votes: Iterable[Vote], *, one_no_removes: bool = False
) -> dict[str, Decision]:
    """Return the decision on each segment.

    Undecided is a segment with fewer than three votes on either modality. With `one_no_removes`,
    a single no fails a modality.
    """
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for vote in votes:
        answers[vote.segment_id, vote.modality][vote.answer] += 1

    def failed(segment_id: str, modality: str) -> bool | None:
        found = answers[segment_id, modality]
        if found.total() < VOTES_NEEDED:
            return None
        return found[NO] >= 1 if one_no_removes else 2 * found[NO] > found.total()

    def decision(segment_id: str) -> Decision:
        fails = [failed(segment_id, modality) for modality in MODALITIES]
        if None in fails:
            return "undecided"
        return "removed" if True in fails else "kept"

    return {segment_id: decision(segment_id) for segment_id in segment_ids}
