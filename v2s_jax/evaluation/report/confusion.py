"""Picture of confusion matrices: one for each set of waveforms."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from v2s_jax.evaluation.classifier import CategoryReport
from v2s_jax.evaluation.report.plots import DOTS_PER_INCH
from v2s_jax.evaluation.report.tables import PERCENT
from v2s_jax.figures.style import printable_title
from v2s_jax.io import atomic_write

CELL_INCHES = 0.34
MARGIN_INCHES = 1.3
"""For the names of the categories."""
MAX_COLUMNS = 3
DARK = 0.6
"""Share above which a number is written in white."""


def draw_confusion(path: Path, reports: Mapping[str, CategoryReport]) -> Path:
    """Draw the share of each category's clips (rows) by the category named (columns), %."""
    known = next(iter(reports.values())).categories
    columns = min(MAX_COLUMNS, len(reports))
    rows = -(-len(reports) // columns)
    inches = MARGIN_INCHES + CELL_INCHES * len(known)
    figure = Figure(figsize=(columns * inches, rows * inches), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, report) in zip(panels, reports.items(), strict=False):
        counts = np.array(report.confusion, np.float64)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        axes.imshow(shares, cmap="Greys", vmin=0.0, vmax=1.0)
        axes.set_title(printable_title(name), fontsize=9, parse_math=False)
        axes.set_xticks(range(len(known)), known, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(len(known)), known, fontsize=7, parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = float(shares[row, column])
            color = "white" if share > DARK else "black"
            text = f"{PERCENT * share:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    for axes in list(panels):  # of an incomplete last row
        axes.set_axis_off()
    figure.supxlabel("named", fontsize=9)
    figure.supylabel("category of the video", fontsize=9)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
    return path
