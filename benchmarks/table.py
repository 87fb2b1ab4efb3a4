"""Figures as a table for people: two header lines, name and unit, then a line for each row."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

GAP = "  "
FIGURE_WIDTH = 6  # "12.345"


class Column(NamedTuple):
    """One figure of a row."""

    name: str
    unit: str
    text: Callable[[Any], str]

    @property
    def width(self) -> int:
        """Characters of the column: those of its header, or of a usual figure."""
        return max(len(self.name), len(self.unit), FIGURE_WIDTH)


def _weight_megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.2f}"


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _spread(row: Any) -> str:
    return f"{(row.run_sec_max - row.run_sec_min) / row.run_sec_median:.0%}"


SAMPLING_COLUMNS = (
    Column("engine", "name", lambda row: row.engine),
    Column("weights", "format", lambda row: row.weight_format),
    Column("batch", "clips", lambda row: str(row.batch)),
    Column("tile", "rows", lambda row: str(row.batch_size)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.2f}"),
    Column("run", "median s", lambda row: f"{row.run_sec_median:.3f}"),
    Column("spread", "of runs", _spread),
    Column("per stream", "samples/s", lambda row: f"{row.samples_per_sec_per_stream:,.0f}"),
    Column("total", "samples/s", lambda row: f"{row.samples_per_sec_total:,.0f}"),
    Column("per stream", "x real time", lambda row: f"{row.x_real_time_per_stream:.2f}"),
    Column("total", "x real time", lambda row: f"{row.x_real_time_total:.2f}"),
    Column("weights", "MB/sample", lambda row: _weight_megabytes(row.weight_bytes_per_sample)),
    Column("reading", "of most", lambda row: _share(row.share_of_reading)),
    Column("products", "MFLOP", lambda row: f"{row.flop_per_sample / 1e6:.3g}"),
    Column("multiply", "of most", lambda row: _share(row.share_of_multiplying)),
    Column("host", "peak MB", lambda row: _megabytes(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: _megabytes(row.device_peak_mb)),
)

SAMPLING_NOTES = """\
batch: clips side by side. tile: rows that the compiled program computes at once; a larger batch
takes several tiles, one after the other, and rows without a clip are computed and dropped.
run: the whole batch, features in host memory to levels in host memory, compilation left out.
spread: the slowest run less the fastest one, over the median.
per stream: the samples of one clip over the time of the whole batch.
MB/sample: weights of the matrix products that one sample reads, once for all rows of a tile.
reading, of most: over what the same device reads at most, each tier's weights from a working set of
all that is read between two of its ticks, so caches count on both sides.
MFLOP: floating-point operations of one sample's products. multiply, of most: over the fastest
product with weights of the same format; rows without a clip count for nothing.
peak: of a process of the case's own, compilation included; "-" where the device keeps no count."""


TRAINING_COLUMNS = (
    Column("batch", "clips", lambda row: str(row.batch)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.1f}"),
    Column("update", "median s", lambda row: f"{row.step_sec_median:.3f}"),
    Column("update", "min s", lambda row: f"{row.step_sec_min:.3f}"),
    Column("update", "max s", lambda row: f"{row.step_sec_max:.3f}"),
    Column("trained", "samples/s", lambda row: f"{row.samples_per_sec:,.0f}"),
    Column("trained", "x real time", lambda row: f"{row.x_real_time:.3f}"),
    Column("products", "TFLOP/s", lambda row: f"{row.flop_per_sec / 1e12:.4g}"),
    Column("peak", "TFLOP/s", lambda row: f"{row.peak_flop_per_sec / 1e12:.4g}"),
    Column("share", "of peak", lambda row: f"{row.share_of_peak:.0%}"),
    Column("host", "peak MB", lambda row: _megabytes(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: _megabytes(row.device_peak_mb)),
)

TRAINING_NOTES = """\
update: forward, backward and Adam over one chunk of every clip; clips on the device, compilation
left out. compile: the first call, less what a later one takes.
products: floating-point operations of the matrix products alone, counted in the program.
peak: of the fastest square product in the same precision, measured just before.
peak MB: of a process of the case's own, compilation included; "-" where the device keeps no
count."""

PEER_COLUMNS = (
    Column("batch", "clips", lambda pair: str(pair[1].batch)),
    Column("update", "median s", lambda pair: f"{pair[1].step_sec_median:.3f}"),
    Column("trained", "samples/s", lambda pair: f"{pair[1].samples_per_sec:,.0f}"),
    Column(
        "v2s_jax",
        "times that",
        lambda pair: f"{pair[0].samples_per_sec / pair[1].samples_per_sec:.2f}",
    ),
)
"""Of a pair: our row, and that of samplernn-pytorch."""


FEATURES_COLUMNS = (
    Column("batch", "pictures", lambda row: str(row.batch)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.1f}"),
    Column("VGG19", "frames/s", lambda row: f"{row.frames_per_sec:,.2f}"),
    Column(
        "reached", "TFLOP/s", lambda row: f"{row.frames_per_sec * row.flop_per_frame / 1e12:.4g}"
    ),
    Column("peak", "TFLOP/s", lambda row: f"{row.peak_flop_per_sec / 1e12:.4g}"),
    Column("share", "of peak", lambda row: f"{row.share_of_peak:.0%}"),
    Column("host", "peak MB", lambda row: _megabytes(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: _megabytes(row.device_peak_mb)),
)

FLOW_COLUMNS = (
    Column("method", "of flow", lambda row: row.method),
    Column("picture", "px", lambda row: str(row.picture_px)),
    Column("flow", "pairs/s", lambda row: f"{row.pairs_per_sec:,.1f}"),
)

FEATURES_NOTES = """\
VGG19: pictures in host memory to vectors in host memory, compilation left out; medians.
peak: of the fastest square product in the same precision, measured just before."""


def header_lines(columns: Sequence[Column]) -> list[str]:
    """Return the names and, below them, the units."""
    return [
        GAP.join(column.name.rjust(column.width) for column in columns),
        GAP.join(column.unit.rjust(column.width) for column in columns),
    ]


def row_line(columns: Sequence[Column], row: Any) -> str:
    """Return one row, aligned under the header."""
    return GAP.join(column.text(row).rjust(column.width) for column in columns)
