"""A study's key, the answers that raters downloaded from its pages, and their scores."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from v2s_jax.csv_files import read_csv
from v2s_jax.errors import InputError, require_extra
from v2s_jax.evaluation.statistics import pooled, share
from v2s_jax.io import atomic_write, wrap_read_errors
from v2s_jax.json_text import parse_json

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

ALL = "all"
"""The name of all categories together."""
TAKEN_FOR_REAL = "taken for real"
MAJORITY = "taken for real by most"
"""Of items with three raters or more, as in the paper."""
MAJORITY_RATERS = 3

Hits = list[tuple[str, bool]]
"""The clip of each answer, and whether it is a hit."""


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
    try:
        with wrap_read_errors(path):
            fields = parse_json(path.read_text(encoding="utf-8"))
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
        for place, cells in read_csv(path, ANSWER_FIELDS):
            row = dict(zip(ANSWER_FIELDS, map(str.strip, cells), strict=True))
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
    questions: Counter[str] = Counter()
    for item in key.items:
        questions[item.page] += len(QUESTIONS[item.page])
    counts = Counter((answer.rater, answer.item.page) for answer in answers)
    return [
        f"{rater} answered {count} of {questions[page]} questions of {page}: the others do not "
        "count"
        for (rater, page), count in sorted(counts.items())
        if count < questions[page]
    ]


@dataclass(frozen=True)
class Rate:
    """A share of answers with its interval."""

    question: str
    category: str
    name: str
    """The model or control."""
    rate: float
    low: float | None
    """Ends of the percentile interval over resampled clips."""
    high: float | None
    reason: str | None
    """Why there is no interval."""
    answers: int
    """Number of answers; of a majority, number of items."""


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha for nominal values."""

    question: str
    alpha: float | None
    """1 is perfect, 0 is chance; None when no item has two raters, or all answers are equal."""
    raters: int


@dataclass(frozen=True)
class StudyReport:
    """The scores of a study; the content of its JSON file."""

    study: str
    raters: list[str]
    chance: dict[str, float]
    """By page: the rate of a random answer."""
    rates: list[Rate]
    agreement: list[Agreement]


def score_study(key: Key, answers: Sequence[Answer], seed: int) -> StudyReport:
    """Compute all scores; `seed` draws the resamples."""
    require_extra("eval", "krippendorff")
    rates: list[Rate] = []
    for category in [ALL, *sorted({item.category for item in key.items})]:
        subset = [answer for answer in answers if category in (ALL, answer.item.category)]
        for (question, name), hits in _hits(key, subset).items():
            rates.append(_rate(question, category, name, hits, seed))
    questions = [question for questions in QUESTIONS.values() for question in questions]
    by_question = {
        question: [answer for answer in answers if answer.question == question]
        for question in questions
    }
    return StudyReport(
        study=key.study,
        raters=sorted({answer.rater for answer in answers}),
        chance={CHOICE: 1 / len(key.models)},
        rates=rates,
        agreement=[_agreement(name, given) for name, given in by_question.items() if given],
    )


def _hits(key: Key, answers: Sequence[Answer]) -> dict[tuple[str, str], Hits]:
    """Return by question, and model or control, whether it was chosen, or taken for real."""
    rates: dict[tuple[str, str], Hits] = {}
    for question in QUESTIONS[CHOICE]:
        given = [answer for answer in answers if answer.question == question]
        for model in key.models if given else ():
            rates[question, model] = [(one.item.clip, one.answer == model) for one in given]
    for name in (*key.models, ORIGINAL, MISMATCHED):
        hits = [
            (answer.item.clip, answer.answer == REAL)
            for answer in answers
            if answer.item.page == REAL_OR_FAKE and name in answer.item.options.values()
        ]
        votes: dict[str, list[bool]] = defaultdict(list)
        for clip, is_hit in hits:
            votes[clip].append(is_hit)
        majorities = [
            (clip, 2 * sum(of_clip) > len(of_clip))
            for clip, of_clip in votes.items()
            if len(of_clip) >= MAJORITY_RATERS
        ]
        rates |= {(TAKEN_FOR_REAL, name): hits, (MAJORITY, name): majorities}
    return {subject: hits for subject, hits in rates.items() if hits}


def _rate(question: str, category: str, name: str, hits: Hits, seed: int) -> Rate:
    """Return the share of hits, with its interval over resampled clips."""
    clips, rows = np.unique([clip for clip, _ in hits], return_inverse=True)
    counts = np.zeros((len(clips), 2))
    np.add.at(counts, rows, [(is_hit, 1.0) for _, is_hit in hits])
    rate = pooled(counts, share, seed)
    assert rate.value is not None
    return Rate(question, category, name, rate.value, rate.low, rate.high, rate.reason, len(hits))


def _agreement(question: str, answers: Sequence[Answer]) -> Agreement:
    import krippendorff

    raters = len({answer.rater for answer in answers})
    items, rows = np.unique([answer.item.item for answer in answers], return_inverse=True)
    values, columns = np.unique([answer.answer for answer in answers], return_inverse=True)
    counts = np.zeros((len(items), len(values)), int)
    np.add.at(counts, (rows, columns), 1)
    paired = counts[counts.sum(axis=1) > 1]
    if np.count_nonzero(paired.sum(axis=0)) < 2:
        return Agreement(question, None, raters)
    alpha = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    return Agreement(question, float(alpha), raters)


def format_report(report: StudyReport) -> str:
    """Format the rates over all categories and the agreement as text."""
    lines = [f"{len(report.raters)} raters"]
    if any(rate.question in QUESTIONS[CHOICE] for rate in report.rates):
        lines[0] += f"; chance of a choice {report.chance[CHOICE]:.1%}"
    rates = [rate for rate in report.rates if rate.category == ALL]
    for question in dict.fromkeys(rate.question for rate in rates):
        lines += [question, *(_format_rate(rate) for rate in rates if rate.question == question)]
    for one in report.agreement:
        alpha = "not defined" if one.alpha is None else f"{one.alpha:.2f}"
        lines.append(f"agreement on {one.question}: alpha {alpha}")
    return "\n".join(lines)


def _format_rate(rate: Rate) -> str:
    interval = f"no interval ({rate.reason})"
    if rate.low is not None:
        interval = f"95 % interval {rate.low:.1%} to {rate.high:.1%}"
    return f"  {rate.name:16} {rate.rate:6.1%}  {interval}, {rate.answers} answers"
