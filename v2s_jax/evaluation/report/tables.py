"""Tables of likelihood, conditioning gain and retrieval; the same ones are printed and in HTML."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rich.console
import rich.table

from v2s_jax.evaluation.likelihood import ConditioningRow, LikelihoodResults, LikelihoodRow
from v2s_jax.evaluation.report import paper
from v2s_jax.evaluation.retrieval import MEAN_RECIPROCAL_RANK, RetrievalResults, RetrievalRow
from v2s_jax.evaluation.statistics import (
    ALL_CLIPS,
    CONFIDENCE,
    MEAN_OF_CATEGORIES,
    RESAMPLES,
    Estimate,
)

PERCENT = 100.0
MISSING = "-"
MAX_COLUMNS = 10_000
"""Characters of a printed line: no table is wrapped."""
INTERVAL_NOTE = (
    f"[...]: {CONFIDENCE:.0%} percentile intervals of {RESAMPLES:,} resamples of clips, paired "
    "where models are compared"
)


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the rows."""

    title: str
    columns: Sequence[str] = ()
    """One for each cell of a row; none where only a note says why there are no rows."""
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    def as_text(self) -> str:
        """Return title, rows and notes as lines for a terminal."""
        lines = [self.title]
        if self.rows:
            table = rich.table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for number, name in enumerate(self.columns):
                table.add_column(name, justify="right" if number else "left", no_wrap=True)
            for row in self.rows:
                table.add_row(*row)
            out = io.StringIO()
            # Cells are data: no markup, no emoji codes.
            console = rich.console.Console(
                file=out, width=MAX_COLUMNS, markup=False, emoji=False, highlight=False
            )
            console.print(table)
            lines += [line.rstrip() for line in out.getvalue().splitlines()]
        return "\n".join([*lines, *self.notes])


def format_value(estimate: Estimate, digits: int, scale: float = 1.0, sign: str = "") -> str:
    """Return an estimate without its interval."""
    return MISSING if estimate.value is None else f"{scale * estimate.value:{sign}.{digits}f}"


def format_estimate(estimate: Estimate, digits: int, scale: float = 1.0, sign: str = "") -> str:
    """Return an estimate with its interval, if it has one."""
    value = format_value(estimate, digits, scale, sign)
    if estimate.low is None or estimate.high is None:
        return value
    low, high = (f"{scale * end:{sign}.{digits}f}" for end in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def missing_notes(estimates: Iterable[Estimate]) -> list[str]:
    """Say once each why there is no number, or no interval."""
    reasons = dict.fromkeys(estimate.reason for estimate in estimates)
    return [f"without an interval: {reason}" for reason in reasons if reason]


def _with_reason(estimate: Estimate, sign: str = "") -> str:
    """Return a number in bits with its interval, or with the reason why there is none."""
    text = format_estimate(estimate, 4, sign=sign)
    return text if estimate.low is not None else f"{text} [{estimate.reason}]"


def likelihood_tables(results: LikelihoodResults) -> list[Table]:
    """Return table 1: each model and baseline, on each split, and by category if it has several."""
    rows = results.rows
    splits = list(dict.fromkeys(row.split for row in rows))
    names = list(dict.fromkeys(row.model for row in rows))
    categories = list(dict.fromkeys(row.category for row in rows))
    cells = {(row.model, row.split, row.category): row for row in rows}

    def both_units(row: LikelihoodRow) -> str:
        bits, nats = row.bits_per_sample, row.nats_per_sample
        return f"{format_estimate(bits, 4)} ({format_value(nats, 4)})"

    overall = Table(
        f"Cross-entropy, bits per sample [{CONFIDENCE:.0%} interval] (nats)",
        ["", *(f"{split} clips" for split in splits)],
        [
            [name, *(both_units(cells[name, split, ALL_CLIPS]) for split in splits)]
            for name in names
        ],
        [
            *missing_notes(row.bits_per_sample for row in rows if row.category == ALL_CLIPS),
            *_likelihood_notes(results),
        ],
    )
    if len(categories) <= len((ALL_CLIPS, MEAN_OF_CATEGORIES)) + 1:
        return [overall]
    split = splits[-1]
    by_category = Table(
        f"Cross-entropy by category, bits per sample, {split} clips",
        ["", *names],
        [
            [
                category,
                *(
                    format_estimate(cells[name, split, category].bits_per_sample, 4)
                    for name in names
                ),
            ]
            for category in categories
        ],
        missing_notes(row.bits_per_sample for row in rows if row.split == split),
    )
    return [overall, by_category]


def _likelihood_notes(results: LikelihoodResults) -> list[str]:
    notes = [
        f"{row.model} minus {row.minus}, {row.split}, paired: "
        f"{_with_reason(row.bits_per_sample, '+')} bits"
        for row in results.differences
        if row.category == ALL_CLIPS
    ]
    notes += [
        f"regret of {row.model}, {row.split}: {_with_reason(row.bits_per_sample)} bits above the "
        "known floor"
        for row in results.regret
        if row.category == ALL_CLIPS
    ]
    if not results.regret:
        notes.append("regret: the floor of these clips or levels is not known")
    if not results.unconditional_models:
        notes.append(
            "unconditional baseline: none was given (train one with --model.variant unconditional)"
        )
    for split, values in paper.CROSS_ENTROPY.items():
        named = zip(paper.MODELS, values, strict=True)
        listed = ", ".join(f"{name} {value}" for name, value in named)
        notes.append(f"the paper, on VEGAS, {split}: {listed} (unit not stated)")
    return notes


def conditioning_table(rows: Sequence[ConditioningRow]) -> Table:
    """Return the conditioning gain on all clips."""
    title = "Conditioning gain"
    if not rows:
        return Table(title, notes=["no conditional model, or no other video to show"])
    overall = [row for row in rows if row.category == ALL_CLIPS]
    return Table(
        title,
        ["", "videos shuffled", "clips", "bits per sample", "bits per clip"],
        [
            [
                row.model,
                row.shuffled.replace("_", " "),
                str(row.bits_per_sample.clips),
                format_estimate(row.bits_per_sample, 4, sign="+"),
                format_estimate(row.bits_per_clip, 2, sign="+"),
            ]
            for row in overall
        ],
        missing_notes(row.bits_per_sample for row in overall),
    )


def retrieval_tables(results: RetrievalResults) -> list[Table]:
    """Return table 2 for each model: measures down, scores across, the chance level last."""
    rows = results.rows
    if not rows:
        return [Table("Retrieval", notes=["no conditional model"])]
    scores = list(dict.fromkeys(row.score for row in rows))
    measures = list(dict.fromkeys(_measure_name(row) for row in rows))
    cells = {(row.model, row.score, _measure_name(row)): row for row in rows}
    models = list(dict.fromkeys(row.model for row in rows))
    tables = []
    for model in models:
        lines = []
        for measure in measures:
            across = [cells[model, score, measure] for score in scores]
            values = [format_estimate(row.estimate, 1, PERCENT) for row in across]
            lines.append([measure, *values, f"{PERCENT * across[0].chance:.2f}"])
        notes = missing_notes(row.estimate for row in rows if row.model == model)
        if model == models[-1]:
            notes += _retrieval_notes(results)
        columns = ["", *(score.replace("_", " ") for score in scores), "chance"]
        tables.append(Table(f"Retrieval with {model}, %", columns, lines, notes))
    return tables


def _retrieval_notes(results: RetrievalResults) -> list[str]:
    published = "; ".join(
        f"{right} top-{top} {' / '.join(f'{value:.2f}' for value in values)}"
        for (right, top), values in paper.RETRIEVAL_PERCENT.items()
    )
    return [
        f"{len(results.queries)} queries, {len(results.clips)} clips of {results.seconds:.2f} s; "
        "equal scores count as all their orders",
        f"the paper, on VEGAS, {paper.RETRIEVAL_CLIPS:,} clips ({' / '.join(paper.MODELS)}): "
        f"{published}",
    ]


def _measure_name(row: RetrievalRow) -> str:
    measure = "MRR" if row.measure == MEAN_RECIPROCAL_RANK else row.measure.replace("_", "-")
    return f"{row.right} {measure} {'in its category' if row.among == 'category' else 'of all'}"
