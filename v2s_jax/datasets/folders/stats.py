"""Clips per category and length, as in the paper's Figure 2 (`v2s prepare stats`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from etils import epath

from v2s_jax.bucket import check_url, url_of
from v2s_jax.datasets.folders.manifest import MANIFEST, Row, read_manifest
from v2s_jax.errors import InputError, printable
from v2s_jax.io import atomic_write

LENGTH_EDGES_SEC = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
"""Bins of the paper's Figure 2, and one below 2 s; the last one has no upper end."""

LENGTH_NAMES = ("under 2 s", "2 to 4 s", "4 to 6 s", "6 to 8 s", "8 s and more")
FIGURE_WIDTH_IN = 10.0
LINE_HEIGHT_IN = 0.32
MARGIN_IN = 1.6


@dataclass(frozen=True)
class CategoryLengths:
    """One row of the table."""

    category: str
    clips: int
    mean_sec: float
    sd_sec: float
    """Population standard deviation."""
    hours: float


@dataclass(frozen=True)
class Lengths:
    """The clips of a dataset by category and by duration of their video stream."""

    categories: tuple[CategoryLengths, ...]
    total: CategoryLengths
    shares: tuple[float, ...]
    """Share of clips in each bin of `LENGTH_NAMES`."""


def write_stats(data: str, out: Path | None = None) -> None:
    """Print clip lengths of the dataset at `data`, and write lengths.json and lengths.png to `out`.

    `out` is the dataset's own folder by default.
    """
    if url := url_of(data):
        check_url(url)
        if out is None:
            raise InputError(f"{data}: is not a local folder: give --out for the results")
    rows = list(read_manifest(epath.Path(data) / MANIFEST))
    lengths = measure_lengths(rows, data)
    print("\n".join(table(lengths)))
    out = out or Path(data)
    with atomic_write(out / "lengths.json") as temporary:
        temporary.write_text(json.dumps(_as_json(lengths), indent=2) + "\n")
    with atomic_write(out / "lengths.png") as temporary:
        draw(lengths, temporary)
    print(f"{out / 'lengths.png'}: the table as a figure")


def measure_lengths(rows: Sequence[Row], where: str) -> Lengths:
    """Return the lengths of the used files, before they are cut or looped.

    Raises InputError if no file is used.
    """
    used = [(row.category or "", row.source_sec or 0.0) for row in rows if row.status == "used"]
    if not used:
        raise InputError(f"{where}: its manifest has no used file: nothing to count")
    seconds = np.array([sec for _, sec in used])
    names = np.array([category for category, _ in used])
    edges = np.array(LENGTH_EDGES_SEC[1:-1])
    bins = np.bincount(np.searchsorted(edges, seconds, side="right"), minlength=len(LENGTH_NAMES))
    return Lengths(
        categories=tuple(_line(name, seconds[names == name]) for name in sorted(set(names))),
        total=_line("all", seconds),
        shares=tuple(float(share) for share in bins / len(seconds)),
    )


def _line(category: str, seconds: np.ndarray) -> CategoryLengths:
    return CategoryLengths(
        category=str(category),
        clips=len(seconds),
        mean_sec=float(seconds.mean()),
        sd_sec=float(seconds.std()),
        hours=float(seconds.sum() / 3_600),
    )


def table(lengths: Lengths) -> list[str]:
    """Format the table as lines."""
    width = max(len(printable(line.category)) for line in (*lengths.categories, lengths.total))
    lines = [f"{'category':{max(width, 8)}}   clips   length, mean and sd   hours"]
    for line in (*lengths.categories, lengths.total):
        category = printable(line.category)
        lines.append(
            f"{category:{max(width, 8)}}  {line.clips:6,}  {line.mean_sec:8.1f} +/- "
            f"{line.sd_sec:4.1f} s  {line.hours:8.2f}"
        )
    lines += ["", "length         share of clips"]
    for name, share in zip(LENGTH_NAMES, lengths.shares, strict=True):
        lines.append(f"{name:14} {share:8.1%}")
    return lines


def _as_json(lengths: Lengths) -> dict[str, object]:
    return {
        "categories": [vars(line) for line in lengths.categories],
        "total": vars(lengths.total),
        "length_shares": dict(zip(LENGTH_NAMES, lengths.shares, strict=True)),
    }


def draw(lengths: Lengths, path: Path) -> None:
    """Draw clips per category with mean and deviation, and the histogram of lengths."""
    lines = lengths.categories[::-1]
    height_in = MARGIN_IN + LINE_HEIGHT_IN * max(len(lines), len(LENGTH_NAMES))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(FIGURE_WIDTH_IN, height_in), layout="constrained", width_ratios=(3, 2)
    )
    bars = left.barh(range(len(lines)), [line.clips for line in lines])
    left.set_yticks(range(len(lines)), [line.category for line in lines], parse_math=False)
    texts = [f" {line.clips:,}  ({line.mean_sec:.1f} ± {line.sd_sec:.1f} s)" for line in lines]
    left.bar_label(bars, texts)
    left.margins(x=0.35)
    left.set_xlabel("clips (length: mean ± standard deviation)")
    shares = [100 * share for share in lengths.shares]
    right.bar_label(right.bar(LENGTH_NAMES, shares, color="tab:orange"), fmt="%.1f %%")
    right.tick_params(axis="x", rotation=30)
    right.set_ylabel("share of clips, %")
    right.margins(y=0.15)
    total = lengths.total
    figure.suptitle(
        f"{total.clips:,} clips, {total.hours:.2f} h, {total.mean_sec:.2f} ± {total.sd_sec:.2f} s"
    )
    figure.savefig(path)
    plt.close(figure)
