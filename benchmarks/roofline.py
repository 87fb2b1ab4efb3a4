"""Roofline plot of the sampling benchmark.

x: operations per byte of weights read, which grows with the batch size and shrinks with the bytes
of a weight. y: operations per second. A slope is a read speed, a level a multiplication speed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.report import GIGA, SamplingReport, SamplingRow

COLORS = {"float32": "#2f6690", "bfloat16": "#d1495b", "int8": "#3a7d44"}
MARKERS = {"scan": "o", "cpu": "s", "fused": "D"}
INCHES = 11.5, 5.6
DOTS_PER_INCH = 150
MARGIN = 3.0
"""Factor by which the axes extend beyond the points."""


def draw_roofline(path: Path, report: SamplingReport) -> None:
    """Draw rows and ceilings as a PNG, without rows whose reads are not known."""
    rows = [row for row in report.rows if row.weight_bytes_per_sec]
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    positions = np.array([_position(row) for row in rows]).reshape(-1, 2)
    peaks = [speed.flop_per_sec / GIGA for speed in report.ceilings.products]
    if rows:
        axes.set_xlim(positions[:, 0].min() / MARGIN, positions[:, 0].max() * MARGIN * 2)
        axes.set_ylim(positions[:, 1].min() / MARGIN, max(*peaks, positions[:, 1].max()) * 2)
    memory = report.ceilings.memory.bytes_per_sec / GIGA
    _draw_slope(axes, memory, max(peaks), f"memory: {memory:.0f} GB/s", color="#8a8a8a", ls=":")
    read_rates = {row.weight_format: row.read_bytes_per_sec for row in rows}
    for speed in report.ceilings.products:
        if read := read_rates.get(speed.weights):
            _draw_roof(axes, speed.weights, read / GIGA, speed.flop_per_sec / GIGA)
    for number, (row, (x, y)) in enumerate(zip(rows, positions, strict=True), start=1):
        label = (
            f"{number}  {row.engine}, {row.weight_format}, {row.batch} in {row.batch_size}: "
            f"{row.samples_per_sec_total:,.0f} samples/s"
        )
        marker, color = MARKERS[row.engine], COLORS[row.weight_format]
        axes.plot(x, y, marker, color=color, markersize=9, markeredgecolor="white", label=label)
        axes.annotate(f"{number}", (x, y), (7, -3), textcoords="offset points")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operations per byte of weights read (FLOP / byte)")
    axes.set_ylabel("products (GFLOP/s)")
    axes.grid(which="major", color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    first, machine = report.rows[0], report.machine
    cpu = f"{machine.cpu}, {machine.cores} cores"
    device = cpu if first.device_kind == "cpu" else first.device_kind
    title = f"Sampling, preset {first.preset}, precision {first.precision}, on {device}"
    axes.set_title(title, loc="left", parse_math=False)
    figure.legend(
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        title="ceilings of this device, then points:\nengine, weights, clips in batch size",
        alignment="left",
    )
    figure.savefig(path, format="png")


def _position(row: SamplingRow) -> tuple[float, float]:
    """Return FLOP per byte, and GFLOP/s."""
    assert row.weight_bytes_per_sec is not None
    return row.flop_per_sec / row.weight_bytes_per_sec, row.flop_per_sec / GIGA


def _draw_roof(axes: Axes, weights: str, read: float, peak: float) -> None:
    """Draw the slope and the level of a weight format."""
    color = COLORS[weights]
    ridge = _draw_slope(
        axes, read, peak, f"{weights} weights from caches: {read:.0f} GB/s", color=color
    )
    level = f"{weights}: {peak:,.0f} GFLOP/s"
    axes.plot([ridge, axes.get_xlim()[1]], [peak] * 2, ls="--", color=color, label=level)


def _draw_slope(axes: Axes, read: float, peak: float, label: str, **style: Any) -> float:
    """Draw a read speed up to the level `peak`; return where they meet."""
    left, right = axes.get_xlim()
    ridge = min(max(peak / read, left), right)
    axes.plot([left, ridge], [left * read, ridge * read], label=label, **style)
    return ridge
