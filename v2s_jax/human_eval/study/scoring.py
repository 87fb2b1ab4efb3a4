"""What answers say: how often each model was chosen, or taken for real, and how raters agree."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import krippendorff
import numpy as np

from v2s_jax.evaluation.estimate import pooled, share_of
from v2s_jax.human_eval.study.answers import Answer
from v2s_jax.human_eval.study.key import (
    CHOICE,
    MISMATCHED,
    ORIGINAL,
    QUESTIONS,
    REAL,
    REAL_OR_FAKE,
    Key,
)

ALL = "all"
"""The name of all categories together."""
TOOK_FOR_REAL = "taken for real"
MAJORITY = "taken for real by most"
"""Of items with three raters or more, as the paper's."""
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
    """How many there are, or, of majorities, how many items."""


@dataclass(frozen=True)
class Agreement:
    """How far raters agree beyond chance: Krippendorff's alpha for names."""

    question: str
    alpha: float | None
    """1 is perfect, 0 is chance; None where no two raters judged the same, or all said the same."""
    raters: int


def report(key: Key, answers: Sequence[Answer], seed: int) -> dict[str, Any]:
    """Return everything as plain values; `seed` draws the resamples."""
    categories = [ALL, *sorted({item.category for item in key.items})]
    rates: list[Rate] = []
    for category in categories:
        own = [one for one in answers if category in (ALL, one.item.category)]
        rates += _choice_rates(key, own, category, seed)
        rates += _real_rates(key, own, category, seed)
    return {
        "study": key.study,
        "raters": sorted({answer.rater for answer in answers}),
        "chance": {CHOICE: 1 / len(key.models)},
        "rates": [asdict(rate) for rate in rates],
        "agreement": [asdict(one) for one in _agreements(answers)],
    }


def _choice_rates(key: Key, answers: Sequence[Answer], category: str, seed: int) -> Iterable[Rate]:
    for question in QUESTIONS[CHOICE]:
        own = [answer for answer in answers if answer.question == question]
        for model in key.models if own else ():
            yield _rate(
                question, category, model, [(a.item.clip, a.answer == model) for a in own], seed
            )


def _real_rates(key: Key, answers: Sequence[Answer], category: str, seed: int) -> Iterable[Rate]:
    by_name: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.item.page == REAL_OR_FAKE:
            (name,) = answer.item.options.values()
            by_name[name].append(answer)
    for name in (*key.models, ORIGINAL, MISMATCHED):
        own = by_name[name]
        if not own:
            continue
        found = [(answer.item.clip, answer.answer == REAL) for answer in own]
        yield _rate(TOOK_FOR_REAL, category, name, found, seed)
        if majority := _majorities(own):
            yield _rate(MAJORITY, category, name, majority, seed)


def _majorities(answers: Sequence[Answer]) -> list[tuple[str, bool]]:
    """Return whether most raters took each item for real, by clip."""
    said: dict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        said[answer.item.clip].append(answer.answer == REAL)
    return [
        (clip, 2 * sum(real) > len(real))
        for clip, real in said.items()
        if len(real) >= MAJORITY_RATERS
    ]


def _rate(
    question: str, category: str, name: str, found: Sequence[tuple[str, bool]], seed: int
) -> Rate:
    """Return the share of what is true, with its interval over clips drawn again."""
    clips = sorted({clip for clip, _ in found})
    place = {clip: number for number, clip in enumerate(clips)}
    counts = np.zeros((len(clips), 2))
    for clip, is_so in found:
        counts[place[clip]] += (is_so, 1)
    rate = pooled(counts, share_of, seed)
    assert rate.value is not None
    return Rate(question, category, name, rate.value, rate.low, rate.high, rate.reason, len(found))


def _agreements(answers: Sequence[Answer]) -> list[Agreement]:
    found = []
    for questions in QUESTIONS.values():
        for question in questions:
            own = [answer for answer in answers if answer.question == question]
            if own:
                found.append(_agreement(question, own))
    return found


def _agreement(question: str, answers: Sequence[Answer]) -> Agreement:
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


def table(found: dict[str, Any]) -> str:
    """Return the report's rates over all categories, and agreement, as lines for people."""
    lines = [f"{len(found['raters'])} raters"]
    if any(rate["question"] in QUESTIONS[CHOICE] for rate in found["rates"]):
        lines[0] += f"; chance of a choice {found['chance'][CHOICE]:.1%}"
    by_question: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rate in found["rates"]:
        if rate["category"] == ALL:
            by_question[rate["question"]].append(rate)
    for question, rates in by_question.items():
        lines.append(question)
        lines += [_told(rate) for rate in rates]
    for one in found["agreement"]:
        alpha = "not defined" if one["alpha"] is None else f"{one['alpha']:.2f}"
        lines.append(f"agreement on {one['question']}: alpha {alpha}")
    return "\n".join(lines)


def _told(rate: dict[str, Any]) -> str:
    interval = (
        f"no interval ({rate['reason']})"
        if rate["low"] is None
        else f"95 % interval {rate['low']:.1%} to {rate['high']:.1%}"
    )
    return f"  {rate['name']:16} {rate['rate']:6.1%}  {interval}, {rate['answers']} answers"
