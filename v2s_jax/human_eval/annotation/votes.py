"""Read votes, and decide which segments to keep.

Three annotators judge the audio of a segment, and three its video. A modality fails when most of
its votes are no; a segment is kept when neither fails: "yes" and "sort of" both count for it, as in
the paper. The paper does not say how it combines three votes: the majority is our choice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from v2s_jax.errors import InputError
from v2s_jax.human_eval.csv_files import read_csv

Modality = Literal["audio", "video"]
MODALITIES: tuple[Modality, ...] = ("audio", "video")
OLD_MODALITIES = {"sound": "audio", "picture": "video"}
"""Names in sheets of earlier versions."""

YES, SORT_OF, NO = "yes", "sort of", "no"
ANSWERS = (YES, SORT_OF, NO)

VOTES_NEEDED = 3
"""Annotators of each modality of a segment (paper: three)."""

VOTE_FIELDS = ("segment_id", "modality", "annotator", "answer")

Decision = Literal["kept", "removed", "undecided"]


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
        for line, row in enumerate(read_csv(path, VOTE_FIELDS), 2):
            place = f"{path}: line {line}"
            vote = _parse_vote(row, place, known)
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


def _parse_vote(row: dict[str, str], place: str, known: set[str]) -> Vote | None:
    segment_id, modality, annotator, answer = (row[field] for field in VOTE_FIELDS)
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

    def has_failed(segment_id: str, modality: str) -> bool | None:
        counts = answers[segment_id, modality]
        if counts.total() < VOTES_NEEDED:
            return None
        return counts[NO] >= 1 if one_no_removes else 2 * counts[NO] > counts.total()

    def decision(segment_id: str) -> Decision:
        fails = [has_failed(segment_id, modality) for modality in MODALITIES]
        if None in fails:
            return "undecided"
        return "removed" if True in fails else "kept"

    return {segment_id: decision(segment_id) for segment_id in segment_ids}
