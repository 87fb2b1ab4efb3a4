"""The key of a study, and the answers that raters downloaded from its pages."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.human_eval.csv_files import read_csv
from v2s_jax.io import atomic_write, wrap_read_errors

KEY_FILE = "key.json"

CHOICE, REAL_OR_FAKE = "choice", "real-or-fake"
"""The two pages."""

QUESTIONS: dict[str, dict[str, str]] = {
    CHOICE: {
        "correctness": "Which of these sounds most likely comes from what you see?",
        "noise": "Which of these sounds has the least irritating noise?",
        "synchronization": "Which of these sounds is best in time with what you see?",
        "overall": "Which of these sounds do you prefer, all in all?",
    },
    REAL_OR_FAKE: {"real": "Was this sound recorded with this video, or is it made up?"},
}
"""The questions of each page: the paper's four (its Table 3), and its test of real or fake."""

REAL, FAKE = "real", "fake"
ORIGINAL, MISMATCHED = "original", "mismatched"
"""The controls of real or fake: a clip's original audio, and that of another clip of its
category."""

ANSWER_FIELDS = (
    *("study", "page", "rater", "place", "item", "question", "shown", "answer", "seconds"),
)
"""Columns of the CSV file of a page. `place` numbers the items in the order a rater saw them, from
1; `shown` has the options from left to right; `seconds` is the time to the answer."""


@dataclass(frozen=True)
class Item:
    """A clip to judge, with the audio of one model or of each."""

    item: str
    """A random name: the page does not reveal the clip."""
    page: str
    clip: str
    category: str
    options: dict[str, str]
    """The model, or control, of each option's random name."""


@dataclass(frozen=True)
class Key:
    """What the pages of a study do not reveal."""

    study: str
    """A random name, which answers repeat."""
    models: list[str]
    items: list[Item]


@dataclass(frozen=True)
class Answer:
    """A rater's answer to a question about an item."""

    rater: str
    item: Item
    question: str
    answer: str
    """The chosen model; for real or fake, one of these."""


def write_key(path: Path, key: Key) -> None:
    """Write the key as JSON; the file appears when it is complete."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(key), indent=2) + "\n", encoding="utf-8")


def read_key(folder: Path) -> Key:
    """Return the key of a study's folder; raise InputError when it cannot be read."""
    path = folder / KEY_FILE
    with wrap_read_errors(path):
        text = path.read_text(encoding="utf-8")
    try:
        fields = json.loads(text)
        items = [Item(**item) for item in fields["items"]]
        if pages := {item.page for item in items} - QUESTIONS.keys():
            raise ValueError(f"unknown pages {sorted(pages)}")
        return Key(fields["study"], fields["models"], items)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the key of a study ({error}): make it again") from error


def read_answers(key: Key, paths: Sequence[Path]) -> tuple[list[Answer], list[str]]:
    """Return all answers, and a line about each rater who left some out.

    Raises InputError, with file and line, for answers of another study, an unknown item, question
    or answer, an answer without a name, and a second answer of one rater to the same question.
    """
    items = {item.item: item for item in key.items}
    places: dict[tuple[str, str, str], str] = {}
    answers = []
    for path in paths:
        for line, row in enumerate(read_csv(path, ANSWER_FIELDS), 2):
            place = f"{path}: line {line}"
            answer = _parse_answer(row, place, key, items)
            subject = (answer.rater, answer.item.item, answer.question)
            if subject in places:
                raise InputError(
                    f"{place}: {answer.rater} answered {answer.question} of {answer.item.item} "
                    f"before ({places[subject]}): keep one of them"
                )
            places[subject] = place
            answers.append(answer)
    if not answers:
        raise InputError(f"{', '.join(map(str, paths))}: no answers: nothing to count")
    return answers, _find_incomplete(key, answers)


def _parse_answer(row: dict[str, str], place: str, key: Key, items: dict[str, Item]) -> Answer:
    if row["study"] != key.study:
        raise InputError(
            f"{place}: is of study {row['study']!r}, this one is {key.study!r}: give its answers"
        )
    item = items.get(row["item"])
    if item is None or item.page != row["page"]:
        raise InputError(f"{place}: no item {row['item']!r} on page {row['page']!r} of this study")
    questions = QUESTIONS[item.page]
    if row["question"] not in questions:
        raise InputError(f"{place}: question {row['question']!r}: use {', '.join(questions)}")
    meanings = {REAL: REAL, FAKE: FAKE} if item.page == REAL_OR_FAKE else item.options
    if row["answer"] not in meanings:
        raise InputError(f"{place}: answer {row['answer']!r}: use {', '.join(meanings)}")
    if not row["rater"]:
        raise InputError(f"{place}: answer without a name: fill in the column rater")
    return Answer(row["rater"], item, row["question"], meanings[row["answer"]])


def _find_incomplete(key: Key, answers: Sequence[Answer]) -> list[str]:
    """Return a line about each rater who started a page and left questions open."""
    items = Counter(item.page for item in key.items)
    counts = Counter((answer.rater, answer.item.page) for answer in answers)
    return [
        f"{rater} answered {count} of {items[page] * len(QUESTIONS[page])} questions of {page}: "
        "the others do not count"
        for (rater, page), count in sorted(counts.items())
        if count < items[page] * len(QUESTIONS[page])
    ]
