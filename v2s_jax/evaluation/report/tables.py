"""Tables of likelihood, conditioning gain and retrieval; the same ones are printed and in HTML."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rich.console
import rich.table

from v2s_jax.errors import printable
from v2s_jax.evaluation.likelihood import ConditioningRow, LikelihoodResults
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
class Number:
    """An estimate as text, with its interval if it has one."""

    estimate: Estimate
    digits: int
    scale: float = 1.0
    sign: str = ""

    def __str__(self) -> str:
        if self.estimate.low is None or self.estimate.high is None:
            return self.value
        low, high = self._format(self.estimate.low), self._format(self.estimate.high)
        return f"{self.value} [{low}, {high}]"

    @property
    def value(self) -> str:
        """The text without the interval."""
        return MISSING if self.estimate.value is None else self._format(self.estimate.value)

    def _format(self, value: float) -> str:
        return f"{self.scale * value:{self.sign}.{self.digits}f}"


Row = list[str | Number]


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
                table.add_row(*map(printable, row))
            out = io.StringIO()
            # Cells are data: no markup, no emoji codes.
            console = rich.console.Console(
                file=out, width=MAX_COLUMNS, markup=False, emoji=False, highlight=False
            )
            console.print(table)
            lines += [line.rstrip() for line in out.getvalue().splitlines()]
        return "\n".join([*lines, *self.notes])


def make_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    notes: Iterable[str] = (),
) -> Table:
    """Return a table; notes say once each why there is no number, or no interval."""
    cells = list(rows)
    numbers = [cell.estimate for row in cells for cell in row if isinstance(cell, Number)]
    reasons = [f"without an interval: {one.reason}" for one in numbers if one.reason]
    texts = [[str(cell) for cell in row] for row in cells]
    return Table(title, columns, texts, [*notes, *dict.fromkeys(reasons)])


def likelihood_tables(results: LikelihoodResults) -> list[Table]:
    """Return table 1: each model and baseline, on each split, and by category if it has several."""
    rows = results.rows
    splits = list(dict.fromkeys(row.split for row in rows))
    names = list(dict.fromkeys(row.model for row in rows))
    categories = list(dict.fromkeys(row.category for row in rows))
    cells = {(row.model, row.split, row.category): row for row in rows}
    columns = [""]
    lines: list[Row] = [[name] for name in names]
    for split in splits:
        columns += [f"{split} clips", "nats"]
        for name, line in zip(names, lines, strict=True):
            row = cells[name, split, ALL_CLIPS]
            line += [Number(row.bits_per_sample, 4), Number(row.nats_per_sample, 4).value]
    title = f"Cross-entropy, bits per sample [{CONFIDENCE:.0%} interval], and nats"
    overall = make_table(title, columns, lines, _likelihood_notes(results))
    if len(categories) <= len((ALL_CLIPS, MEAN_OF_CATEGORIES)) + 1:
        return [overall]
    split, lines = splits[-1], []
    for category in categories:
        of_models = [cells[name, split, category].bits_per_sample for name in names]
        lines.append([category, *(Number(bits, 4) for bits in of_models)])
    title = f"Cross-entropy by category, bits per sample, {split} clips"
    return [overall, make_table(title, ["", *names], lines)]


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
        listed = ", ".join(f"{name} {value}" for name, value in values.items())
        notes.append(f"the paper, on VEGAS, {split}: {listed} (unit not stated)")
    return notes


def _with_reason(estimate: Estimate, sign: str = "") -> str:
    """Return a number in bits with its interval, or with the reason why there is none."""
    text = str(Number(estimate, 4, sign=sign))
    return text if estimate.low is not None else f"{text} [{estimate.reason}]"


def conditioning_table(rows: Sequence[ConditioningRow]) -> Table:
    """Return the conditioning gain on all clips."""
    title = "Conditioning gain"
    if not rows:
        return Table(title, notes=["no conditional model, or no other video to show"])
    lines: list[Row] = []
    for row in rows:
        if row.category == ALL_CLIPS:
            bits, clip_bits = row.bits_per_sample, row.bits_per_clip
            numbers = Number(bits, 4, sign="+"), Number(clip_bits, 2, sign="+")
            lines.append([row.model, row.shuffled.replace("_", " "), str(bits.clips), *numbers])
    columns = ["", "videos shuffled", "clips", "bits per sample", "bits per clip"]
    return make_table(title, columns, lines)


def retrieval_tables(results: RetrievalResults) -> list[Table]:
    """Return table 2 for each model: measures down, scores across, the chance level last."""
    rows = results.rows
    if not rows:
        return [Table("Retrieval", notes=["no conditional model"])]
    scores = list(dict.fromkeys(row.score for row in rows))
    measures = list(dict.fromkeys(_measure_name(row) for row in rows))
    cells = {(row.model, row.score, _measure_name(row)): row for row in rows}
    columns = ["", *(score.replace("_", " ") for score in scores), "chance"]
    models = list(results.log_likelihood_nats)
    tables = []
    for model in models:
        lines: list[Row] = []
        for measure in measures:
            across = [cells[model, score, measure] for score in scores]
            values = (Number(row.estimate, 1, PERCENT) for row in across)
            lines.append([measure, *values, f"{PERCENT * across[0].chance:.2f}"])
        notes = _retrieval_notes(results) if model == models[-1] else []
        tables.append(make_table(f"Retrieval with {model}, %", columns, lines, notes))
    return tables


def _retrieval_notes(results: RetrievalResults) -> list[str]:
    published = "; ".join(
        f"{measure.replace('_top_', ' top-')} {' / '.join(f'{v:.2f}' for v in values.values())}"
        for measure, values in paper.RETRIEVAL_PERCENT.items()
    )
    return [
        f"{len(results.queries)} queries, {len(results.clips)} clips of {results.seconds:.2f} s; "
        "equal scores count as all their orders",
        f"the paper, on VEGAS, {paper.RETRIEVAL_CLIPS:,} clips (Frame / Seq / Flow): {published}",
    ]


def _measure_name(row: RetrievalRow) -> str:
    measure = "MRR" if row.measure == MEAN_RECIPROCAL_RANK else row.measure.replace("_", "-")
    return f"{row.right} {measure} {'in its category' if row.among == 'category' else 'of all'}"
