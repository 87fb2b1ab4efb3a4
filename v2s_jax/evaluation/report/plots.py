"""Plots of the results: bars with intervals, and the scores that retrieval ranks by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from v2s_jax.evaluation.likelihood import ConditioningRow, LikelihoodRow
from v2s_jax.evaluation.report.tables import PERCENT
from v2s_jax.evaluation.retrieval import (
    LESS_LOG_MEAN,
    LIKELIHOOD,
    MEAN_RECIPROCAL_RANK,
    RetrievalResults,
    RetrievalRow,
)
from v2s_jax.evaluation.statistics import ALL_CLIPS, MEAN_OF_CATEGORIES, Estimate
from v2s_jax.figures.style import INK, LEADER, printable_title
from v2s_jax.io import atomic_write

DOTS_PER_INCH = 150
BAR_INCHES = 0.24
HEIGHT_INCHES = 3.6
MIN_INCHES = 6.0
PANEL_INCHES = 4.2
GROUP_FILL = 0.84
"""Part of a group's width that bars fill; the rest keeps groups apart."""


class Bar(NamedTuple):
    """A bar with its interval, if there is one."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, estimate: Estimate, scale: float = 1.0) -> "Bar | None":
        """Return the bar of an estimate, if it has a value."""
        if estimate.value is None:
            return None
        low, high = (None if e is None else scale * e for e in (estimate.low, estimate.high))
        return cls(scale * estimate.value, low, high)


def draw_bars(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[Bar | None]]
) -> None:
    """Draw a bar for each series in each group; None leaves a gap."""
    width, handles = GROUP_FILL / len(series), []
    for number, bars in enumerate(series.values()):
        offset = (number - (len(series) - 1) / 2) * width
        drawn = [(group + offset, bar) for group, bar in enumerate(bars) if bar is not None]
        handles.append(axes.bar([x for x, _ in drawn], [bar.value for _, bar in drawn], width))
        for x, bar in drawn:
            if bar.low is not None and bar.high is not None:
                axes.vlines(x, bar.low, bar.high, color=INK, linewidth=1.0)
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right", parse_math=False)
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


def _bar_axes(groups: int, series: int) -> tuple[Figure, Axes]:
    inches = max(MIN_INCHES, 2.5 + BAR_INCHES * groups * (series + 1))
    figure = Figure(figsize=(inches, HEIGHT_INCHES), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, path: Path) -> Path:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
    return path


def _groups(rows: Sequence[LikelihoodRow | ConditioningRow]) -> list[str]:
    """Return the categories in order; of a single one not the summary rows, which equal it."""
    names = list(dict.fromkeys(row.category for row in rows))
    categories = [name for name in names if name not in (ALL_CLIPS, MEAN_OF_CATEGORIES)]
    return names if len(categories) > 1 else categories


def draw_likelihood(path: Path, rows: Sequence[LikelihoodRow], split: str) -> Path:
    """Draw bits per sample of each category, a bar for each model and baseline."""
    rows = [row for row in rows if row.split == split]
    groups, names = _groups(rows), list(dict.fromkeys(row.model for row in rows))
    bars = {(row.model, row.category): Bar.of(row.bits_per_sample) for row in rows}
    figure, axes = _bar_axes(len(groups), len(names))
    draw_bars(axes, groups, {name: [bars[name, group] for group in groups] for name in names})
    axes.set_ylabel(f"bits per sample, {split} clips")
    return _save(figure, path)


def draw_conditioning(path: Path, rows: Sequence[ConditioningRow]) -> Path:
    """Draw the conditioning gain of each category, a bar for each model and way of shuffling."""
    groups = _groups(rows)
    bars = {(row.model, row.shuffled, row.category): Bar.of(row.bits_per_sample) for row in rows}
    names = list(dict.fromkeys((row.model, row.shuffled) for row in rows))
    series = {
        f"{model}, {shuffled.replace('_', ' ')}": [
            bars.get((model, shuffled, group)) for group in groups
        ]
        for model, shuffled in names
    }
    figure, axes = _bar_axes(len(groups), len(series))
    draw_bars(axes, groups, series)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_ylabel("conditioning gain, bits per sample")
    return _save(figure, path)


def draw_retrieval(path: Path, results: RetrievalResults) -> Path:
    """Draw hits with their chance level, and each model's scores of all pairs."""
    models = list(results.log_likelihood_nats)
    figure = Figure(figsize=(PANEL_INCHES * (len(models) + 2), PANEL_INCHES), layout="constrained")
    widths = [2, *(1 for _ in models)]
    first, *others = np.atleast_1d(figure.subplots(1, len(widths), width_ratios=widths))
    _draw_hits(first, results.rows, models)
    for axes, model in zip(others, models, strict=True):
        _draw_scores(axes, model, results)
    return _save(figure, path)


def _draw_hits(axes: Axes, rows: Sequence[RetrievalRow], models: Sequence[str]) -> None:
    """Draw the top-k measures of two scores, dotted lines at their chance level."""
    rows = [row for row in rows if row.measure != MEAN_RECIPROCAL_RANK]
    cells = {(row.model, row.score, row.right, row.among, row.measure): row for row in rows}
    keys = list(dict.fromkeys((row.right, row.among, row.measure) for row in rows))
    series = {
        f"{model}, {score.replace('_', ' ')}": [
            Bar.of(cells[(model, score, *key)].estimate, PERCENT) for key in keys
        ]
        for model in models
        for score in (LIKELIHOOD, LESS_LOG_MEAN)
    }
    among_names = {"category": "in its category", "all": "of all"}
    groups = [f"{right} {m.replace('_', '-')}\n{among_names[among]}" for right, among, m in keys]
    draw_bars(axes, groups, series)
    axes.set_ylim(0.0, PERCENT)
    for group, key in enumerate(keys):
        chance = PERCENT * cells[(models[0], LIKELIHOOD, *key)].chance
        axes.hlines(chance, group - 0.5, group + 0.5, color=INK, linestyle=":")
    axes.set_ylabel("queries with a hit, % (dotted: chance)")


def _draw_scores(axes: Axes, model: str, results: RetrievalResults) -> None:
    """Draw each clip's log likelihood under each video, less its best; own pairs are marked."""
    scores = np.array(results.log_likelihood_nats[model])
    order = np.argsort(results.categories, kind="stable")
    clips = [results.clips[clip] for clip in order]
    queries = [clip for clip in clips if clip in results.queries]
    rows = [results.queries.index(query) for query in queries]
    image = (scores - scores.max(axis=0))[np.ix_(np.array(rows), order)]
    axes.imshow(image, aspect="auto", cmap="viridis", interpolation="nearest")
    own = [clips.index(query) for query in queries]
    axes.scatter(own, range(len(queries)), s=9, facecolors="none", edgecolors=LEADER)
    title = f"{printable_title(model)}: log p(audio | video)\nless the clip's best; rings: own"
    axes.set_title(title, fontsize=8, parse_math=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("clips, by category")
    axes.set_ylabel("videos, by category")
