"""Answers in: the CSV files that people downloaded from a study's pages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.human_eval.pages import read_given
from v2s_jax.human_eval.study.key import FAKE, QUESTIONS, REAL, REAL_OR_FAKE, Item, Key
from v2s_jax.human_eval.study.making import FIELDS


@dataclass(frozen=True)
class Answer:
    """One person's answer to one question about one item."""

    rater: str
    item: Item
    question: str
    answer: str
    """The model that was chosen; of real or fake, which of the two."""


def read_answers(key: Key, paths: Sequence[Path]) -> tuple[list[Answer], list[str]]:
    """Return all answers, and a line for everyone who left some out.

    Raises InputError, with file and line, for another study's answers, an unknown item, question
    or answer, an answer without a name, and one person's second answer to the same.
    """
    items = {item.item: item for item in key.items}
    places: dict[tuple[str, str, str], str] = {}
    answers = []
    for path in paths:
        for line, row in enumerate(read_given(path, FIELDS), 2):
            place = f"{path}: line {line}"
            answer = _answer(row, place, key, items)
            once = (answer.rater, answer.item.item, answer.question)
            if once in places:
                raise InputError(
                    f"{place}: {answer.rater} answered {answer.question} of {answer.item.item} "
                    f"before ({places[once]}): keep one of them"
                )
            places[once] = place
            answers.append(answer)
    if not answers:
        raise InputError(f"{', '.join(map(str, paths))}: no answers: nothing to count")
    return answers, _left_out(key, answers)


def _answer(row: dict[str, str], place: str, key: Key, items: dict[str, Item]) -> Answer:
    if row["study"] != key.study:
        raise InputError(
            f"{place}: of study {row['study']!r}, this one is {key.study!r}: give its answers"
        )
    item = items.get(row["item"])
    if item is None or item.page != row["page"]:
        raise InputError(f"{place}: no item {row['item']!r} on page {row['page']!r} of this study")
    questions = QUESTIONS[item.page]
    if row["question"] not in questions:
        raise InputError(f"{place}: question {row['question']!r}: use {', '.join(questions)}")
    known = {REAL: REAL, FAKE: FAKE} if item.page == REAL_OR_FAKE else item.options
    if row["answer"] not in known:
        raise InputError(f"{place}: answer {row['answer']!r}: use {', '.join(known)}")
    if not row["rater"]:
        raise InputError(f"{place}: nobody's answer: fill in the column rater")
    return Answer(row["rater"], item, row["question"], known[row["answer"]])


def _left_out(key: Key, answers: Sequence[Answer]) -> list[str]:
    """Say who began a page and left questions of it open."""
    asked = Counter(item.page for item in key.items)
    found = Counter((answer.rater, answer.item.page) for answer in answers)
    return [
        f"{rater} answered {count} of {asked[page] * len(QUESTIONS[page])} questions of {page}: "
        "the others do not count"
        for (rater, page), count in sorted(found.items())
        if count < asked[page] * len(QUESTIONS[page])
    ]
