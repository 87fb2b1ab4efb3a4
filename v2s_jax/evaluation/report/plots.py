"""The report's parts as pictures: bars with intervals, and the scores that retrieval ranks by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from v2s_jax.evaluation.categories import ALL_CLIPS, MEAN_OF_CATEGORIES
from v2s_jax.evaluation.retrieval import LESS_LOG_MEAN, LIKELIHOOD
from v2s_jax.figures.titles import printable
from v2s_jax.io import atomic_write

DOTS_PER_INCH = 150
BAR_INCHES = 0.24
HEIGHT_INCHES = 3.6
LEAST_INCHES = 6.0
GROUP_FILL = 0.84  # of a group's width; the rest keeps groups apart
PERCENT = 100.0


def _bars(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[dict[str, Any] | None]]
) -> None:
    """Draw a bar with its interval for each series in each group; None leaves a gap."""
    width, bars = GROUP_FILL / len(series), []
    for number, rows in enumerate(series.values()):
        places = [
            group + (number - (len(series) - 1) / 2) * width
            for group, row in enumerate(rows)
            if row is not None
        ]
        there = [row for row in rows if row is not None]
        bars.append(axes.bar(places, [row["value"] for row in there], width))
        for place, row in zip(places, there, strict=True):
            if row["low"] is not None:
                axes.vlines(place, row["low"], row["high"], color="#222222", linewidth=1.0)
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(
        bars,
        list(map(printable, series)),
        frameon=False,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold a dollar sign


def _wide(groups: int, series: int) -> Figure:
    inches = max(LEAST_INCHES, 2.5 + BAR_INCHES * groups * (series + 1))
    return Figure(figsize=(inches, HEIGHT_INCHES), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)


def _ends(row: dict[str, Any]) -> dict[str, Any]:
    return {"value": row["bits_per_sample"], "low": row["bits_low"], "high": row["bits_high"]}


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the categories in order; where there is one alone, not what it equals."""
    names = list(dict.fromkeys(row["category"] for row in rows))
    apart = [name for name in names if name not in (ALL_CLIPS, MEAN_OF_CATEGORIES)]
    return names if len(apart) > 1 else apart


def draw_likelihood(path: Path, rows: Sequence[dict[str, Any]], split: str) -> None:
    """Draw bits per sample of each category, a bar for each model and baseline."""
    own = [row for row in rows if row["split"] == split]
    groups, names = _names(own), list(dict.fromkeys(row["model"] for row in own))
    found = {(row["model"], row["category"]): _ends(row) for row in own}
    figure = _wide(len(groups), len(names))
    axes = figure.subplots()
    _bars(axes, groups, {name: [found[name, group] for group in groups] for name in names})
    axes.set_ylabel(f"bits per sample, {split} clips")
    _save(figure, path)


def draw_sight(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw the conditioning gain of each category, a bar for each model and way of shuffling."""
    groups = _names(rows)
    found = {(row["model"], row["shuffled"], row["category"]): _ends(row) for row in rows}
    series = list(dict.fromkeys((row["model"], row["shuffled"]) for row in rows))
    figure = _wide(len(groups), len(series))
    axes = figure.subplots()
    _bars(
        axes,
        groups,
        {
            f"{model}, {shuffled.replace('_', ' ')}": [
                found.get((model, shuffled, group)) for group in groups
            ]
            for model, shuffled in series
        },
    )
    axes.axhline(0.0, color="#222222", linewidth=0.8)
    axes.set_ylabel("bits per sample that sight explains")
    _save(figure, path)


def draw_retrieval(path: Path, part: dict[str, Any]) -> None:
    """Draw hits beside chance, and each model's scores of every sound under every video."""
    models = list(part["log_likelihood_nats"])
    figure = Figure(figsize=(4.2 * (len(models) + 2), 4.2), layout="constrained")
    widths = [2, *(1 for _ in models)]
    first, *others = np.atleast_1d(figure.subplots(1, len(widths), width_ratios=widths))
    rows = [row for row in part["rows"] if row["measure"] != "mean_reciprocal_rank"]
    keys = list(dict.fromkeys((row["right"], row["among"], row["measure"]) for row in rows))
    series = {
        f"{model}, {score.replace('_', ' ')}": [
            {name: None if row[name] is None else PERCENT * row[name] for name in ENDS}
            for key in keys
            for row in rows
            if (row["model"], row["score"]) == (model, score)
            and (row["right"], row["among"], row["measure"]) == key
        ]
        for model in models
        for score in (LIKELIHOOD, LESS_LOG_MEAN)
    }
    where = {"category": "in its category", "all": "of all"}
    groups = [f"{right} {m.replace('_', '-')}\n{where[among]}" for right, among, m in keys]
    _bars(first, groups, series)
    first.set_ylim(0.0, PERCENT)
    for group, key in enumerate(keys):
        chance = next(
            row["chance"] for row in rows if (row["right"], row["among"], row["measure"]) == key
        )
        first.hlines(PERCENT * chance, group - 0.5, group + 0.5, color="#222222", linestyle=":")
    first.set_ylabel("queries with a hit, % (dotted: chance)")
    for axes, model in zip(others, models, strict=True):
        _draw_scores(axes, model, part)
    _save(figure, path)


ENDS = ("value", "low", "high")


def _draw_scores(axes: Axes, model: str, part: dict[str, Any]) -> None:
    """Draw each sound's log likelihood under each video, less its best; own pairs are marked."""
    scores = np.array(part["log_likelihood_nats"][model])
    order = np.argsort(part["categories"], kind="stable")
    sounds = [part["sounds"][sound] for sound in order]
    queries = [sound for sound in sounds if sound in part["queries"]]
    rows = [part["queries"].index(query) for query in queries]
    shown = (scores - scores.max(axis=0))[np.ix_(rows, order)]
    axes.imshow(shown, aspect="auto", cmap="viridis", interpolation="nearest")
    places = [sounds.index(query) for query in queries]
    axes.scatter(places, range(len(queries)), s=9, facecolors="none", edgecolors="#d1495b")
    title = f"{printable(model)}: log p(sound | video)\nless the sound's best; rings: own"
    axes.set_title(title, fontsize=8, parse_math=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("sounds, by category")
    axes.set_ylabel("videos, by category")
