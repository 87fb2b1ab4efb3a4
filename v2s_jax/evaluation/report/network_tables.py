"""Tables of categories named by classifiers, of the embedding and of the judge."""

from collections.abc import Iterable, Mapping, Sequence

from v2s_jax.evaluation.classifier import CategoryReport
from v2s_jax.evaluation.embedding import EmbeddingResults
from v2s_jax.evaluation.frechet import FrechetRow
from v2s_jax.evaluation.judge import JudgeResults
from v2s_jax.evaluation.report.tables import MISSING, PERCENT, Number, Row, Table, make_table
from v2s_jax.evaluation.statistics import ALL_CLIPS


def category_table(
    title: str, reports: Mapping[str, CategoryReport], notes: Iterable[str] = ()
) -> Table:
    """Return the share named right: a row for each category, a column for each set of waveforms."""
    first = next(iter(reports.values()))
    rows: list[Row] = []
    if len(first.by_category) > 1:
        for category in first.by_category:
            shares = (one.by_category[category].accuracy for one in reports.values())
            rows.append([category, *(Number(share, 1, PERCENT).value for share in shares)])
    rows.append([ALL_CLIPS, *(Number(one.accuracy, 1, PERCENT) for one in reports.values())])
    chance, largest = PERCENT * first.chance, PERCENT * first.largest_share
    ends = f"reference: the ceiling; chance: {chance:.1f}; most frequent category: {largest:.1f}"
    return make_table(title, ["", *reports], rows, [*notes, ends])


def fitted_note(report: CategoryReport) -> str:
    """Say what a classifier was fitted on."""
    return (
        f"among {len(report.categories)} categories; the classifier is fitted on the "
        f"reference audio of {report.trained_on} clips of the train split"
    )


def frechet_cell(row: FrechetRow, digits: int = 0) -> str:
    """Return the mean over the splits, and its range."""
    spread = row.generated
    if spread is None:
        return MISSING
    mean, low, high = (f"{value:,.{digits}f}" for value in (spread.mean, spread.min, spread.max))
    return f"{mean} ({low} to {high})"


def embedding_tables(results: EmbeddingResults) -> list[Table]:
    """Return the distances and the category accuracy in a pretrained embedding."""
    title = "Frechet distance in the embedding (lowest to highest of the splits)"
    first = next(iter(results.metrics.values())).frechet
    rows: Sequence[Sequence[str]] = [
        [name, frechet_cell(metrics.frechet, 2)] for name, metrics in results.metrics.items()
    ]
    if first.reason is not None:
        distances = Table(title, notes=[f"none: {first.reason}"])
    else:
        notes = [
            "against reference audio of other clips; reference: the floor, at the same number of "
            f"clips, {first.clips_each}, which any distance exceeds for want of clips",
            f"embedding: {results.file}",
        ]
        distances = Table(title, ["", "all clips"], rows, notes)
    title = "Category accuracy in the embedding, %"
    reports = {
        name: metrics.classification
        for name, metrics in results.metrics.items()
        if metrics.classification is not None
    }
    if not reports:
        return [distances, Table(title, notes=[f"none: {results.no_classifier}"])]
    note = fitted_note(next(iter(reports.values())))
    return [distances, category_table(title, reports, [note])]


def judge_table(results: JudgeResults) -> Table:
    """Return how often the judge named the category."""
    title = f"Named right by the judge {results.file}, %"
    notes = []
    if results.unknown:
        notes.append(f"without clips of {', '.join(results.unknown)}: the judge has no class")
    if not results.metrics:
        return Table(title, notes=notes)
    known = len(results.classes)
    notes.append(f"among {known} categories; nothing of the judge is fitted on these sounds")
    return category_table(title, results.metrics, notes)
