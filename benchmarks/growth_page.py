"""The page of `benchmarks growth`: a table of each part, and a plot of all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from benchmarks.common import Row, markdown_table
from v2s_jax.errors import InputError
from v2s_jax.evaluation.statistics import plural
from v2s_jax.io import atomic_write, wrap_read_errors

AMOUNTS = {
    "clips": "clips sampled",
    "length": "length of one clip (s)",
    "batch": "clips per training step",
    "prepare": "videos of 10 s prepared",
    "gallery": "clips ranked under as many videos",
}
"""Parts in the order of the page, and what grows."""
TIME_COLOR, MEMORY_COLOR = "#2f6690", "#d1495b"
PANEL_INCHES = 3.6
DOTS_PER_INCH = 130
NOTES = """\
`sec`: without compilation and start, except prepare, which is the whole command. `host_peak_mb`:
resident memory of the row's process, of all its processes for prepare. The exponent b of the fit
sec = a x^b is that of all rows: 1 is proportional. Memory includes Python, JAX and compilation."""


def write_page(folder: Path) -> None:
    """Write growth.md and growth.png of the parts that are in the folder."""
    reports = {part: _read(folder / f"{part}.json") for part in AMOUNTS}
    found = {part: report for part, report in reports.items() if report is not None}
    lines = ["# How cost grows", "", NOTES, "", "![Time and memory](growth.png)", ""]
    for part, report in found.items():
        machine = report["machine"]
        lines += [
            f"## {AMOUNTS[part].capitalize()}",
            "",
            f"`{report['command']}`, {report['date']}, {report['device']}; {machine['cpu']}, "
            f"{machine['cores']} cores, load average {machine['load_average']} at the start.",
            "",
            *markdown_table(report["rows"]),
            "",
            *(f"{label}: exponent {fit:.2f}." for label, fit in _exponents(part, report["rows"])),
            "",
        ]
    with atomic_write(folder / "growth.md") as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n")
    with atomic_write(folder / "growth.png") as temporary:
        _draw(found).savefig(temporary)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with wrap_read_errors(path):
        data = path.read_bytes()
    try:
        report: dict[str, Any] = json.loads(data)
        assert report["rows"]
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(
            f"{path}: is no report of python -m benchmarks growth: remove it"
        ) from error
    return report


def _curves(part: str, rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each curve by its label: one for each number of processes."""
    curves: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[part]):
        workers = row.get("workers")
        label = "time" if workers is None else f"time, {plural(workers, 'worker')}"
        curves.setdefault(label, []).append(row)
    return curves


def _exponents(part: str, rows: list[Row]) -> list[tuple[str, float]]:
    fits = []
    for label, curve in _curves(part, rows).items():
        amounts, secs = (np.log([row[name] for row in curve]) for name in (part, "sec"))
        if len(set(amounts)) > 1:
            fits.append((label, float(np.polyfit(amounts, secs, 1)[0])))
    return fits


def _draw(reports: dict[str, dict[str, Any]]) -> Figure:
    """Draw a panel for each part: seconds on the left axis, memory on the right one."""
    figure = Figure(figsize=(PANEL_INCHES * len(reports), PANEL_INCHES), dpi=DOTS_PER_INCH)
    figure.set_layout_engine("constrained")
    for panel, (part, report) in enumerate(reports.items(), start=1):
        axes = figure.add_subplot(1, len(reports), panel, xscale="log", yscale="log")
        _draw_part(axes, part, report["rows"])
    return figure


def _draw_part(axes: Axes, part: str, rows: list[Row]) -> None:
    memory = axes.twinx()
    styles = ["-", "--", ":"]
    for number, (label, curve) in enumerate(_curves(part, rows).items()):
        amounts, style = [row[part] for row in curve], styles[number % len(styles)]
        secs, peaks_mb = ([row[name] for row in curve] for name in ("sec", "host_peak_mb"))
        axes.plot(amounts, secs, f"o{style}", color=TIME_COLOR, markersize=4, label=label)
        memory.plot(amounts, peaks_mb, f"s{style}", color=MEMORY_COLOR, markersize=3, alpha=0.7)
    memory.set_ylim(0, 1.3 * max(row["host_peak_mb"] for row in rows))
    axes.set_xticks(sorted({row[part] for row in rows}))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(AMOUNTS[part])
    axes.set_ylabel("time (s)", color=TIME_COLOR)
    memory.set_ylabel("peak memory (MB)", color=MEMORY_COLOR)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.legend(frameon=False, fontsize="small", loc="upper left")
