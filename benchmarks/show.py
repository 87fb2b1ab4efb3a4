"""`python -m benchmarks show`: print and draw reports of the sampling benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.ceilings import Ceilings
from benchmarks.common import (
    Column,
    describe_load,
    format_mb,
    format_share,
    output_file,
    print_table,
)
from benchmarks.report import SamplingRow, read_report
from benchmarks.roofline import draw_roofline
from benchmarks.samplernn_pytorch import PeerSamplingRow
from v2s_jax.errors import InputError

GIGA = 10**9
MEGA = 10**6


def _weight_mb(row: SamplingRow) -> str:
    size = row.weight_bytes_per_sample
    return "-" if size is None else f"{size / MEGA:.2f}"


COLUMNS = (
    Column("engine", "name", lambda row: row.engine),
    Column("weights", "format", lambda row: row.weight_format),
    Column("batch", "clips", lambda row: str(row.batch)),
    Column("batch size", "clips", lambda row: str(row.batch_size)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.2f}"),
    Column("run", "median s", lambda row: f"{row.run_sec_median:.3f}"),
    Column(
        "spread",
        "of runs",
        lambda row: f"{(row.run_sec_max - row.run_sec_min) / row.run_sec_median:.0%}",
    ),
    Column("per clip", "samples/s", lambda row: f"{row.samples_per_sec_per_stream:,.0f}"),
    Column("total", "samples/s", lambda row: f"{row.samples_per_sec_total:,.0f}"),
    Column("per clip", "x real time", lambda row: f"{row.x_real_time_per_stream:.2f}"),
    Column("total", "x real time", lambda row: f"{row.x_real_time_total:.2f}"),
    Column("weights", "MB/sample", _weight_mb),
    Column("reading", "of ceiling", lambda row: format_share(row.share_of_reading)),
    Column("products", "MFLOP", lambda row: f"{row.flop_per_sample / MEGA:.3g}"),
    Column("products", "of ceiling", lambda row: format_share(row.share_of_multiplying)),
    Column("host", "peak MB", lambda row: format_mb(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: format_mb(row.device_peak_mb)),
)

NOTES = """\
batch: clips to generate. batch size: clips computed at once; more clips take several passes.
run: the whole batch, from features to levels in host memory, without compilation.
spread: slowest minus fastest run, over the median.
per clip: samples of one clip over the time of the whole batch.
MB/sample: weights that one sample reads, once for all clips of a pass.
reading, of ceiling: the device's read speed for each tier's working set, caches included.
products, of ceiling: the fastest matrix product with weights of the same format.
peak MB: of the case's process, compilation included; "-" where the device keeps no count."""


@dataclass(frozen=True)
class ShowArgs:
    """Check reports of the sampling benchmark, print their tables, and draw the roofline."""

    reports: tyro.conf.Positional[tuple[Path, ...]]
    """JSON files that `sampling --json` wrote."""
    plot: Path | None = None
    """File for the roofline of one report (PNG)."""

    def run(self) -> None:
        """Read all reports, then print and draw."""
        if not self.reports:
            raise InputError("show: name at least one report")
        reports = [read_report(path) for path in self.reports]
        if self.plot is not None and len(reports) > 1:
            raise InputError(f"--plot: draws one report, got {len(reports)}: name one")
        with output_file(self.plot, "--plot") as image:
            for report in reports:
                print(f"{report.date}, {describe_load(report.machine)}, jax {report.machine.jax}")
                print(report.command)
                print_sampling(report.rows, report.peer_rows, report.ceilings)
                print()
            if image is not None:
                report = reports[0]
                draw_roofline(image, report.rows, report.ceilings, report.machine)


def print_sampling(
    rows: Sequence[SamplingRow], peer_rows: Sequence[PeerSamplingRow], ceilings: Ceilings
) -> None:
    """Print what was measured: case, ceilings, table, comparison."""
    print("\n".join([_title(rows[0]), *_ceiling_lines(ceilings)]), end="\n\n")
    print_table(COLUMNS, rows)
    print("\n".join(["", *_peer_lines(rows, peer_rows)]) if peer_rows else "", end="")


def _title(row: SamplingRow) -> str:
    return (
        f"sampling, preset {row.preset} ({row.parameters:,} parameters, weights: {row.weights}), "
        f"clips of {row.clip_sec:g} s at {row.sample_rate_hz} Hz, {len(row.run_secs)} runs, "
        f"precision {row.precision}, device {row.device_kind}"
    )


def _ceiling_lines(ceilings: Ceilings) -> list[str]:
    reads = [
        f"{ceilings.memory.bytes_per_sec / GIGA:.1f} GB/s from memory",
        *(
            f"{speed.bytes_per_sec / GIGA:.0f} GB/s from {speed.working_set_bytes / MEGA:.3g} MB"
            for speed in ceilings.tiers
        ),
    ]
    products = [
        f"{speed.flop_per_sec / GIGA:,.0f} GFLOP/s with {speed.weights} weights "
        f"(precision {speed.precision})"
        for speed in ceilings.products
    ]
    return [f"ceilings: reads {', '.join(reads)}", f"multiplies {', '.join(products)}"]


def _peer_lines(rows: Sequence[SamplingRow], peer_rows: Sequence[PeerSamplingRow]) -> list[str]:
    """Return samplernn-pytorch's figures, and how many times as fast each row is."""
    first = peer_rows[0]
    lines = [
        f"samplernn-pytorch at the same sizes, without video ({first.parameters:,} parameters), "
        f"PyTorch {first.torch} on {first.device}, {first.threads} threads, {first.samples} "
        "samples a clip"
    ]
    for peer_row in peer_rows:
        lines.append(f"batch {peer_row.batch}: {peer_row.samples_per_sec:,.0f} samples/s in total")
        for row in (row for row in rows if row.batch == peer_row.batch):
            ratio = row.samples_per_sec_total / peer_row.samples_per_sec
            lines.append(
                f"  {row.engine}, {row.weight_format}, batch size {row.batch_size}: {ratio:.1f} x"
            )
    return [*lines, ""]
