"""Reports of the sampling benchmark: `sampling` writes them, `show` reads and prints them."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ceilings import Ceilings, ProductSpeed, ReadSpeed
from benchmarks.common import Row, print_table
from benchmarks.machine import Machine
from benchmarks.samplernn_pytorch import PeerRow, compare
from v2s_jax.config import Precision
from v2s_jax.errors import InputError
from v2s_jax.io import wrap_read_errors
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat

GIGA = 10**9
MEGA = 10**6

NOTES = """\
batch: clips to generate. batch size: clips computed at once; more clips take several passes.
run: the whole batch, from features to levels in host memory, without compilation; median.
of best: speed over that of the fastest row with as many clips; for auto, how good its choice is.
spread: slowest minus fastest run, over the median.
mb per sample: weights that one sample reads, once for all clips of a pass.
share of reading: of the device's read speed for each tier's working set, caches included.
share of multiplying: of the fastest matrix product with weights of the same format.
peak mb: of the case's process, compilation included; "-" where the device keeps no count."""


@dataclass(frozen=True, kw_only=True)
class SamplingCase:
    """One case to measure."""

    batch: int
    """Clips generated."""
    batch_size: int
    """Clips computed at once; a larger batch takes several passes."""
    clip_sec: float
    """Length of each clip."""
    precision: Precision
    engine: EngineName
    weight_format: WeightFormat
    is_auto: bool = False
    """Whether `auto` chose engine, weights and batch size, or is to choose them."""


@dataclass(frozen=True, kw_only=True)
class SamplingRow(SamplingCase):
    """Figures of one case. Rates count requested samples only, not idle slots or padding."""

    preset: str
    weights: str
    """"random", or the checkpoint."""
    parameters: int
    device_kind: str
    samples_per_clip: int
    sample_rate_hz: int
    compile_sec: float
    """From parameters to a compiled program, excluding its first run."""
    run_secs: list[float]
    """Each run of the whole batch, excluding compilation."""
    run_sec_median: float
    samples_per_sec_total: float
    x_real_time_total: float
    weight_bytes_per_sample: float | None
    """Bytes of weights that one sample reads, once for all slots; None for models whose products
    are not known."""
    flop_per_sample: float
    """Operations of the matrix products of one sample of one clip, integer ones included; without
    the visual encoder."""
    weight_bytes_per_sec: float | None
    """Weights read, once for all slots."""
    flop_per_sec: float
    read_bytes_per_sec: float | None
    """Ceiling for reading these weights (`Ceilings.read_bytes_per_sec`)."""
    peak_flop_per_sec: float
    """Ceiling for products with weights of this format."""
    share_of_reading: float | None
    share_of_multiplying: float
    host_peak_mb: float
    """Resident memory of the case's process: interpreter, JAX and compilation included."""
    device_peak_mb: float | None
    """Memory that JAX's allocator held on the device; None on a CPU, where it keeps no count."""


class SamplingReport(NamedTuple):
    """What one run of the sampling benchmark measured."""

    machine: Machine
    ceilings: Ceilings
    rows: list[SamplingRow]
    peer_rows: list[PeerRow]


def read_report(path: Path) -> SamplingReport:
    """Read a report; raises InputError for another file."""
    with wrap_read_errors(path):
        data = path.read_bytes()
    try:
        report = json.loads(data)
        ceilings = report["ceilings"]
        return SamplingReport(
            _pick(Machine, report["machine"]),
            Ceilings(
                _pick(ReadSpeed, ceilings["memory"]),
                [_pick(ReadSpeed, speed) for speed in ceilings["tiers"]],
                [_pick(ProductSpeed, speed) for speed in ceilings["products"]],
            ),
            [_pick(SamplingRow, row) for row in report["rows"]],
            [_pick(PeerRow, row) for row in report["peer_rows"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: {error!r}: give a file that python -m benchmarks sampling --json wrote"
        ) from error


def _pick(kind: Any, values: dict[str, Any]) -> Any:
    """Make a dataclass from the values of its fields; others are left out.

    Older reports lack the fields that have a default.
    """
    return kind(
        **{
            field.name: values[field.name]
            for field in dataclasses.fields(kind)
            if field.name in values or field.default is dataclasses.MISSING
        }
    )


def print_sampling(report: SamplingReport) -> None:
    """Print what was measured: case, ceilings, table, comparison."""
    row, ceilings = report.rows[0], report.ceilings
    print(
        f"sampling, preset {row.preset} ({row.parameters:,} parameters, weights: {row.weights}), "
        f"clips of {row.clip_sec:g} s at {row.sample_rate_hz} Hz, {len(row.run_secs)} runs, "
        f"precision {row.precision}, device {row.device_kind}"
    )
    reads = [
        f"{speed.bytes_per_sec / GIGA:.0f} GB/s from {speed.working_set_bytes / MEGA:.3g} MB"
        for speed in [ceilings.memory, *ceilings.tiers]
    ]
    products = [
        f"{speed.flop_per_sec / GIGA:,.0f} GFLOP/s with {speed.weights} weights"
        for speed in ceilings.products
    ]
    print(f"ceilings: reads {', '.join(reads)}\nmultiplies {', '.join(products)}\n")
    print_table([_figures(row, report.rows) for row in report.rows])
    if report.peer_rows:
        ours = [
            (
                row.batch,
                f"{row.engine}, {row.weight_format}, batch size {row.batch_size}",
                row.samples_per_sec_total,
            )
            for row in report.rows
        ]
        print(f"\n{compare(report.peer_rows, ours)}")


def _figures(row: SamplingRow, rows: Sequence[SamplingRow]) -> Row:
    size = row.weight_bytes_per_sample
    best = max(one.samples_per_sec_total for one in rows if one.batch == row.batch)
    return {
        "engine": f"auto: {row.engine}" if row.is_auto else row.engine,
        "weights": row.weight_format,
        "batch": row.batch,
        "batch_size": row.batch_size,
        "compile_sec": row.compile_sec,
        "run_sec": row.run_sec_median,
        "spread": (max(row.run_secs) - min(row.run_secs)) / row.run_sec_median,
        "samples_per_sec": row.samples_per_sec_total,
        "x_real_time": row.x_real_time_total,
        "of_best": row.samples_per_sec_total / best,
        "mb_per_sample": None if size is None else size / MEGA,
        "share_of_reading": row.share_of_reading,
        "mflop_per_sample": row.flop_per_sample / MEGA,
        "share_of_multiplying": row.share_of_multiplying,
        "host_peak_mb": row.host_peak_mb,
        "device_peak_mb": row.device_peak_mb,
    }
