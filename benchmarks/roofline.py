"""Roofline plot of the sampling benchmark.

x: operations per byte of weights read, which grows with the batch size and shrinks with the bytes
of a weight. y: operations per second. A slope is a read speed, a level a multiplication speed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.ceilings import Ceilings
from benchmarks.machine import Machine
from benchmarks.report import SamplingRow
from v2s_jax.kernels.packing import WeightFormat

GIGA = 10**9
COLORS: dict[WeightFormat, str] = {
    "float32": "#2f6690",
    "bfloat16": "#d1495b",
    "int8": "#3a7d44",
}
MARKERS = "osD^v"
INK = "#222222"
MEMORY_INK = "#8a8a8a"
INCHES = 11.5, 5.6
DOTS_PER_INCH = 150
AXES = 0.07, 0.11, 0.555, 0.79
"""Left, bottom, width, height of the plot; the legend is to its right."""
LEGEND_LEFT = 0.645
MARGIN = 3.0
"""Factor by which the axes extend beyond the points."""


def draw_roofline(
    path: Path, rows: Sequence[SamplingRow], ceilings: Ceilings, machine: Machine
) -> None:
    """Draw rows and ceilings as a PNG, without rows whose reads are not known."""
    known = [row for row in rows if row.weight_bytes_per_sec and row.read_bytes_per_sec]
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
    axes = figure.add_axes(AXES)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _set_limits(axes, known, ceilings)
    _draw_ceilings(axes, known, ceilings)
    engines = list(dict.fromkeys(row.engine for row in known))
    for number, row in enumerate(known, start=1):
        x, y = _position(row)
        color, marker = (
            COLORS[row.weight_format],
            MARKERS[engines.index(row.engine) % len(MARKERS)],
        )
        axes.plot(x, y, marker, color=color, markersize=9, markeredgecolor="white", zorder=3)
        axes.annotate(
            str(number),
            (x, y),
            (7, -3),
            textcoords="offset points",
            color=INK,
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=4,
        )
    _draw_legend(figure, known)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operations per byte of weights read (FLOP / byte)", color=INK)
    axes.set_ylabel("products (GFLOP/s)", color=INK)
    axes.grid(which="major", color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    first = rows[0]
    cpu = f"{machine.cpu}, {machine.cores} cores"
    device = cpu if first.device_kind == "cpu" else first.device_kind
    title = f"Sampling, preset {first.preset}, precision {first.precision}, on {device}"
    figure.text(AXES[0], 0.94, title, fontsize=12, color=INK, parse_math=False)
    figure.savefig(path, format="png")


def _position(row: SamplingRow) -> tuple[float, float]:
    """Return FLOP per byte, and GFLOP/s."""
    assert row.weight_bytes_per_sec is not None
    return row.flop_per_sec / row.weight_bytes_per_sec, row.flop_per_sec / GIGA


def _set_limits(axes: Axes, rows: Sequence[SamplingRow], ceilings: Ceilings) -> None:
    """Include all points and the highest ceiling, with a margin."""
    positions = [_position(row) for row in rows] or [(1.0, 1.0)]
    xs, ys = zip(*positions, strict=True)
    highest = max(speed.flop_per_sec for speed in ceilings.products) / GIGA
    axes.set_xlim(min(xs) / MARGIN, max(xs) * MARGIN * 2)
    axes.set_ylim(min(ys) / MARGIN, max(highest, *ys) * 2)


def _draw_ceilings(axes: Axes, rows: Sequence[SamplingRow], ceilings: Ceilings) -> None:
    """Draw the roof of memory, and that of each weight format."""
    memory = ceilings.memory.bytes_per_sec
    highest = max(speed.flop_per_sec for speed in ceilings.products)
    label = f"memory: {memory / GIGA:.0f} GB/s"
    _draw_roof(axes, memory, highest, MEMORY_INK, "dotted", label, None)
    reads = {row.weight_format: row.read_bytes_per_sec for row in rows}
    for speed in ceilings.products:
        read = reads.get(speed.weights)
        if read is None:
            continue
        level_label = f"{speed.weights}: {speed.flop_per_sec / GIGA:,.0f} GFLOP/s"
        slope_label = f"{speed.weights} weights from caches: {read / GIGA:.0f} GB/s"
        color = COLORS[speed.weights]
        _draw_roof(axes, read, speed.flop_per_sec, color, "solid", slope_label, level_label)


def _draw_roof(
    axes: Axes,
    bytes_per_sec: float,
    flop_per_sec: float,
    color: str,
    style: str,
    slope_label: str,
    level_label: str | None,
) -> None:
    """Draw a slope up to a level; labels go into the legend."""
    left, right = axes.get_xlim()
    ridge = min(max(flop_per_sec / bytes_per_sec, left), right)
    slope = np.array([left, ridge])
    axes.plot(slope, slope * bytes_per_sec / GIGA, linestyle=style, color=color, label=slope_label)
    if level_label is not None:
        level = [flop_per_sec / GIGA] * 2
        axes.plot([ridge, right], level, linestyle="dashed", color=color, label=level_label)


def _draw_legend(figure: Figure, rows: Sequence[SamplingRow]) -> None:
    """Draw the legend: the lines, then the numbered points."""
    axes = figure.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(LEGEND_LEFT, AXES[1] + AXES[3] + 0.02),
        frameon=False,
        fontsize=8.5,
        title="ceilings of this device",
        title_fontsize=9,
        alignment="left",
    )
    points = [
        f"{number:2}  {row.engine}, {row.weight_format}, {row.batch} in {row.batch_size}: "
        f"{row.samples_per_sec_total:,.0f} samples/s"
        for number, row in enumerate(rows, start=1)
    ]
    heading = "points: engine, weights, clips in batch size"
    text = "\n".join([heading, *points])
    figure.text(
        LEGEND_LEFT + 0.012, AXES[1], text, va="bottom", fontsize=8.5, color=INK, linespacing=1.45
    )
