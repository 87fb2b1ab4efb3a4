"""Scores of a study: how often each model was chosen or taken for real, and rater agreement."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from v2s_jax.errors import require_extra
from v2s_jax.evaluation.statistics import pooled, share
from v2s_jax.human_eval.study.answers import (
    CHOICE,
    MISMATCHED,
    ORIGINAL,
    QUESTIONS,
    REAL,
    REAL_OR_FAKE,
    Answer,
    Key,
)

ALL = "all"
"""The name of all categories together."""
TAKEN_FOR_REAL = "taken for real"
MAJORITY = "taken for real by most"
"""Of items with three raters or more, as in the paper."""
MAJORITY_RATERS = 3


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
        rates += _choice_rates(key, subset, category, seed)
        rates += _real_rates(key, subset, category, seed)
    by_question = {
        question: [answer for answer in answers if answer.question == question]
        for questions in QUESTIONS.values()
        for question in questions
    }
    return StudyReport(
        study=key.study,
        raters=sorted({answer.rater for answer in answers}),
        chance={CHOICE: 1 / len(key.models)},
        rates=rates,
        agreement=[_agreement(name, given) for name, given in by_question.items() if given],
    )


def _choice_rates(key: Key, answers: Sequence[Answer], category: str, seed: int) -> Iterator[Rate]:
    for question in QUESTIONS[CHOICE]:
        given = [answer for answer in answers if answer.question == question]
        for model in key.models if given else ():
            hits = [(answer.item.clip, answer.answer == model) for answer in given]
            yield _rate(question, category, model, hits, seed)


def _real_rates(key: Key, answers: Sequence[Answer], category: str, seed: int) -> Iterator[Rate]:
    by_name: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for answer in answers:
        if answer.item.page == REAL_OR_FAKE:
            (name,) = answer.item.options.values()
            by_name[name].append((answer.item.clip, answer.answer == REAL))
    for name in (*key.models, ORIGINAL, MISMATCHED):
        if hits := by_name[name]:
            yield _rate(TAKEN_FOR_REAL, category, name, hits, seed)
            if majorities := _majorities(hits):
                yield _rate(MAJORITY, category, name, majorities, seed)


def _majorities(hits: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Return for each clip whether most raters took it for real."""
    by_clip: dict[str, list[bool]] = defaultdict(list)
    for clip, is_hit in hits:
        by_clip[clip].append(is_hit)
    return [
        (clip, 2 * sum(votes) > len(votes))
        for clip, votes in by_clip.items()
        if len(votes) >= MAJORITY_RATERS
    ]


def _rate(
    question: str, category: str, name: str, hits: Sequence[tuple[str, bool]], seed: int
) -> Rate:
    """Return the share of hits among (clip, hit), with its interval over resampled clips."""
    clips = sorted({clip for clip, _ in hits})
    rows = {clip: row for row, clip in enumerate(clips)}
    counts = np.zeros((len(clips), 2))
    for clip, is_hit in hits:
        counts[rows[clip]] += (is_hit, 1)
    rate = pooled(counts, share, seed)
    assert rate.value is not None
    return Rate(question, category, name, rate.value, rate.low, rate.high, rate.reason, len(hits))


def _agreement(question: str, answers: Sequence[Answer]) -> Agreement:
    import krippendorff

    raters = sorted({answer.rater for answer in answers})
    items = sorted({answer.item.item for answer in answers})
    values = sorted({answer.answer for answer in answers})
    counts = np.zeros((len(items), len(values)), int)
    for answer in answers:
        counts[items.index(answer.item.item), values.index(answer.answer)] += 1
    paired = counts[counts.sum(axis=1) > 1]
    if len(values) == 1 or not len(paired) or np.count_nonzero(paired.sum(axis=0)) == 1:
        return Agreement(question, None, len(raters))
    alpha = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    return Agreement(question, float(alpha), len(raters))


def format_report(report: StudyReport) -> str:
    """Format the rates over all categories and the agreement as text."""
    lines = [f"{len(report.raters)} raters"]
    if any(rate.question in QUESTIONS[CHOICE] for rate in report.rates):
        lines[0] += f"; chance of a choice {report.chance[CHOICE]:.1%}"
    by_question: dict[str, list[Rate]] = defaultdict(list)
    for rate in report.rates:
        if rate.category == ALL:
            by_question[rate.question].append(rate)
    for question, rates in by_question.items():
        lines += [question, *map(_format_rate, rates)]
    for one in report.agreement:
        alpha = "not defined" if one.alpha is None else f"{one.alpha:.2f}"
        lines.append(f"agreement on {one.question}: alpha {alpha}")
    return "\n".join(lines)


def _format_rate(rate: Rate) -> str:
    interval = (
        f"no interval ({rate.reason})"
        if rate.low is None
        else f"95 % interval {rate.low:.1%} to {rate.high:.1%}"
    )
    return f"  {rate.name:16} {rate.rate:6.1%}  {interval}, {rate.answers} answers"
