"""Bar plots of the results, with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from v2s_jax.evaluation.likelihood import ConditioningRow, LikelihoodRow
from v2s_jax.evaluation.report.tables import PERCENT
from v2s_jax.evaluation.retrieval import (
    LESS_LOG_MEAN,
    LIKELIHOOD,
    MEAN_RECIPROCAL_RANK,
    RetrievalRow,
)
from v2s_jax.evaluation.statistics import ALL_CLIPS, MEAN_OF_CATEGORIES, Estimate
from v2s_jax.figures.style import INK, printable_title
from v2s_jax.io import atomic_write

DOTS_PER_INCH = 150
BAR_INCHES = 0.24
HEIGHT_INCHES = 3.6
MIN_INCHES = 6.0
GROUP_FILL = 0.84
"""Part of a group's width that bars fill; the rest keeps groups apart."""


def draw_likelihood(path: Path, rows: Sequence[LikelihoodRow], split: str) -> Path:
    """Draw bits per sample of each category, a bar for each model and baseline."""
    rows = [row for row in rows if row.split == split]
    bars = {(row.model, row.category): row.bits_per_sample for row in rows}
    return _draw_by_category(path, bars, f"bits per sample, {split} clips")


def draw_conditioning(path: Path, rows: Sequence[ConditioningRow]) -> Path:
    """Draw the conditioning gain of each category, a bar for each model and way of shuffling."""
    bars = {
        (f"{row.model}, {row.shuffled.replace('_', ' ')}", row.category): row.bits_per_sample
        for row in rows
    }
    return _draw_by_category(path, bars, "conditioning gain, bits per sample")


def _draw_by_category(path: Path, bars: Mapping[tuple[str, str], Estimate], label: str) -> Path:
    """Draw bars by series and category; of a single category not the summaries, which equal it."""
    groups = list(dict.fromkeys(category for _, category in bars))
    categories = [name for name in groups if name not in (ALL_CLIPS, MEAN_OF_CATEGORIES)]
    groups = groups if len(categories) > 1 else categories
    series = {
        name: [bars.get((name, group)) for group in groups]
        for name in dict.fromkeys(name for name, _ in bars)
    }
    return _save(draw_bars(groups, series, label), path)


def draw_retrieval(path: Path, rows: Sequence[RetrievalRow]) -> Path:
    """Draw the top-k measures of two scores, dotted lines at their chance level."""
    rows = [row for row in rows if row.measure != MEAN_RECIPROCAL_RANK]
    cells = {(row.model, row.score, row.right, row.among, row.measure): row for row in rows}
    keys = list(dict.fromkeys((row.right, row.among, row.measure) for row in rows))
    series = {
        f"{model}, {score.replace('_', ' ')}": [
            cells[(model, score, *key)].estimate for key in keys
        ]
        for model in dict.fromkeys(row.model for row in rows)
        for score in (LIKELIHOOD, LESS_LOG_MEAN)
    }
    among_names = {"category": "in its category", "all": "of all"}
    groups = [f"{right} {m.replace('_', '-')}\n{among_names[among]}" for right, among, m in keys]
    figure = draw_bars(groups, series, "queries with a hit, % (dotted: chance)", PERCENT)
    (axes,) = figure.axes
    axes.set_ylim(0.0, PERCENT)
    chances = {(row.right, row.among, row.measure): PERCENT * row.chance for row in rows}
    for group, key in enumerate(keys):
        axes.hlines(chances[key], group - 0.5, group + 0.5, color=INK, linestyle=":")
    return _save(figure, path)


def draw_bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[Estimate | None]],
    label: str,
    scale: float = 1.0,
) -> Figure:
    """Draw a bar for each series in each group; None leaves a gap."""
    inches = max(MIN_INCHES, 2.5 + BAR_INCHES * len(groups) * (len(series) + 1))
    figure = Figure(figsize=(inches, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    width, handles = GROUP_FILL / len(series), []
    for number, bars in enumerate(series.values()):
        offset = (number - (len(series) - 1) / 2) * width
        xs, heights = [], []
        for group, bar in enumerate(bars):
            if bar is None or bar.value is None:
                continue
            xs.append(group + offset)
            heights.append(scale * bar.value)
            if bar.low is not None and bar.high is not None:
                axes.vlines(xs[-1], scale * bar.low, scale * bar.high, color=INK, linewidth=1.0)
        handles.append(axes.bar(xs, heights, width))
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right", parse_math=False)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(
        handles,
        list(map(printable_title, series)),
        frameon=False,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
    return figure


def _save(figure: Figure, path: Path) -> Path:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
    return path
