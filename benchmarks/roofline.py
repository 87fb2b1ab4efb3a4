"""The roofline: what was measured, under what the device can do at most.

Across: operations for each byte of weights that is read, which grows with the rows of a tile and
shrinks with the bytes of a weight. Up: operations a second. A slope is a speed of reading, a level
one of multiplying; a point on its own ceiling could only be faster by other arithmetic.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.ceilings import Ceilings
from benchmarks.sampling import SamplingRow
from v2s_jax.kernels.packing import WeightFormat

GIGA = 10**9
COLOURS: dict[WeightFormat, str] = {
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
"""Left, bottom, width, height of the plot; the key stands right of it."""
KEY_LEFT = 0.645
MARGIN = 3.0
"""Factor that the axes reach beyond the points."""


def roofline_figure(
    path: Path, rows: Sequence[SamplingRow], ceilings: Ceilings, machine: str
) -> None:
    """Draw rows and ceilings as a PNG; rows whose reads are not known are left out."""
    known = [row for row in rows if row.weight_bytes_per_sec and row.read_bytes_per_sec]
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
    axes = figure.add_axes(AXES)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _set_limits(axes, known, ceilings)
    _draw_ceilings(axes, known, ceilings)
    engines = list(dict.fromkeys(row.engine for row in known))
    for number, row in enumerate(known, start=1):
        x, y = _place(row)
        colour, marker = (
            COLOURS[row.weight_format],
            MARKERS[engines.index(row.engine) % len(MARKERS)],
        )
        axes.plot(x, y, marker, color=colour, markersize=9, markeredgecolor="white", zorder=3)
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
    _draw_key(figure, known)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operations for each byte of weights read (FLOP / byte)", color=INK)
    axes.set_ylabel("products (GFLOP/s)", color=INK)
    axes.grid(which="major", color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    first = rows[0]
    device = machine if first.device_kind == "cpu" else first.device_kind
    title = f"Sampling, preset {first.preset}, precision {first.precision}, on {device}"
    figure.text(AXES[0], 0.94, title, fontsize=12, color=INK, parse_math=False)
    figure.savefig(path, format="png")


def _place(row: SamplingRow) -> tuple[float, float]:
    """Return a row's point: FLOP for each byte, and GFLOP/s."""
    assert row.weight_bytes_per_sec is not None
    return row.flop_per_sec / row.weight_bytes_per_sec, row.flop_per_sec / GIGA


def _set_limits(axes: Axes, rows: Sequence[SamplingRow], ceilings: Ceilings) -> None:
    """Leave room around the points, and for the highest ceiling."""
    places = [_place(row) for row in rows] or [(1.0, 1.0)]
    across, up = zip(*places, strict=True)
    highest = max(speed.flop_per_sec for speed in ceilings.products) / GIGA
    axes.set_xlim(min(across) / MARGIN, max(across) * MARGIN * 2)
    axes.set_ylim(min(up) / MARGIN, max(highest, *up) * 2)


def _draw_ceilings(axes: Axes, rows: Sequence[SamplingRow], ceilings: Ceilings) -> None:
    """Draw memory's roof, and for each format that of its own weights and of its products."""
    memory = ceilings.memory.bytes_per_sec
    highest = max(speed.flop_per_sec for speed in ceilings.products)
    label = f"memory: {memory / GIGA:.0f} GB/s"
    _draw_roof(axes, memory, highest, MEMORY_INK, "dotted", label, None)
    reads = {row.weight_format: row.read_bytes_per_sec for row in rows}
    for speed in ceilings.products:
        read = reads.get(speed.weights)
        if read is None:
            continue
        of_products = f"{speed.weights}: {speed.flop_per_sec / GIGA:,.0f} GFLOP/s"
        of_reading = f"{speed.weights} weights where they lie: {read / GIGA:.0f} GB/s"
        colour = COLOURS[speed.weights]
        _draw_roof(axes, read, speed.flop_per_sec, colour, "solid", of_reading, of_products)


def _draw_roof(
    axes: Axes,
    bytes_per_sec: float,
    flop_per_sec: float,
    colour: str,
    style: str,
    of_slope: str,
    of_level: str | None,
) -> None:
    """Draw a slope up to a level; what it is called goes into the key."""
    left, right = axes.get_xlim()
    ridge = min(max(flop_per_sec / bytes_per_sec, left), right)
    slope = np.array([left, ridge])
    axes.plot(slope, slope * bytes_per_sec / GIGA, linestyle=style, color=colour, label=of_slope)
    if of_level is not None:
        level = [flop_per_sec / GIGA] * 2
        axes.plot([ridge, right], level, linestyle="dashed", color=colour, label=of_level)


def _draw_key(figure: Figure, rows: Sequence[SamplingRow]) -> None:
    """Name the lines, then the points by their numbers."""
    axes = figure.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(KEY_LEFT, AXES[1] + AXES[3] + 0.02),
        frameon=False,
        fontsize=8.5,
        title="most that this device does",
        title_fontsize=9,
        alignment="left",
    )
    points = [
        f"{number:2}  {row.engine}, {row.weight_format}, {row.batch} on {row.batch_size}: "
        f"{row.samples_per_sec_total:,.0f} samples/s"
        for number, row in enumerate(rows, start=1)
    ]
    heading = "points: engine, weights, clips on rows of a tile"
    text = "\n".join([heading, *points])
    figure.text(
        KEY_LEFT + 0.012, AXES[1], text, va="bottom", fontsize=8.5, color=INK, linespacing=1.45
    )
