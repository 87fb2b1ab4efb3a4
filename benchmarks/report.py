"""Reports of the sampling benchmark: what `python -m benchmarks sampling --json` writes.

The dataclasses below are the schema; docs/benchmarks/README.md explains the fields.
"""

import dataclasses
import json
import math
import statistics
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmarks.ceilings import Ceilings
from benchmarks.machine import Machine
from benchmarks.samplernn_pytorch import PeerSamplingRow
from v2s_jax.config import Precision
from v2s_jax.errors import InputError
from v2s_jax.io import wrap_read_errors
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat

ROUNDING = 1e-9
"""Relative tolerance for figures that follow from one another."""
RENAMED_ROW_FIELDS = {"tile": "batch_size"}
"""Old names of row fields in reports of before 2026-12."""
REMOVED_ROW_FIELDS = ("tiles",)  # batch / batch_size, rounded up


@dataclass(frozen=True)
class SamplingRow:
    """Figures of one case. Rates count requested samples only, not idle slots or padding."""

    preset: str
    weights: str
    """"random", or the checkpoint."""
    parameters: int
    precision: Precision
    engine: EngineName
    weight_format: WeightFormat
    device_kind: str
    batch: int
    """Clips generated."""
    batch_size: int
    """Clips computed at once."""
    clip_sec: float
    samples_per_clip: int
    sample_rate_hz: int
    compile_sec: float
    """From parameters to a compiled program, excluding its first run."""
    run_secs: list[float]
    """Each run of the whole batch, excluding compilation."""
    run_sec_median: float
    run_sec_min: float
    run_sec_max: float
    samples_per_sec_per_stream: float
    """Samples of one clip over the time of the whole batch."""
    samples_per_sec_total: float
    x_real_time_per_stream: float
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
    """Of requested samples: idle slots do not count."""
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


@dataclass(frozen=True)
class SamplingReport:
    """One run of the sampling benchmark on one device."""

    benchmark: Literal["sampling"]
    command: str
    """Measures the same again: every option that the figures depend on. No path of the machine
    except the checkpoint's."""
    date: str
    """ISO 8601, UTC."""
    device: str
    """Device kind, as JAX names it."""
    machine: Machine
    ceilings: Ceilings
    rows: list[SamplingRow]
    peer_rows: list[PeerSamplingRow]

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("has no rows")
        for number, row in enumerate(self.rows):
            for name in ("run_sec_median", "peak_flop_per_sec"):
                _check_positive(f"row {number}: {name}", getattr(row, name))
            expected = {
                "run_sec_median": statistics.median(row.run_secs),
                "samples_per_sec_per_stream": row.samples_per_clip / row.run_sec_median,
                "samples_per_sec_total": row.batch * row.samples_per_clip / row.run_sec_median,
                "share_of_multiplying": row.flop_per_sec / row.peak_flop_per_sec,
            }
            for name, value in expected.items():
                if not math.isclose(getattr(row, name), value, rel_tol=ROUNDING):
                    raise InputError(
                        f"row {number}: {name} is {getattr(row, name):g}, but follows from the "
                        f"other figures as {value:g}"
                    )
        for number, peer_row in enumerate(self.peer_rows):
            _check_positive(f"peer row {number}: samples_per_sec", peer_row.samples_per_sec)


def _check_positive(name: str, value: float) -> None:
    if value <= 0:
        raise InputError(f"{name} is {value:g}, not above 0")


def read_report(path: Path) -> SamplingReport:
    """Read a report; raises InputError with the file and the field at fault."""
    with wrap_read_errors(path):
        data = path.read_bytes()
    try:
        report: SamplingReport = _build(SamplingReport, _upgrade(json.loads(data)), "")
    except (InputError, ValueError) as error:
        raise InputError(
            f"{path}: {error}: give a file that python -m benchmarks sampling --json wrote"
        ) from error
    return report


def _upgrade(report: Any) -> Any:
    """Rename the fields of an older report."""
    if isinstance(report, dict) and isinstance(report.get("rows"), list):
        for row in report["rows"]:
            for old, new in RENAMED_ROW_FIELDS.items():
                if old in row:
                    row[new] = row.pop(old)
            for name in REMOVED_ROW_FIELDS:
                row.pop(name, None)
    return report


def _build(kind: Any, value: Any, where: str) -> Any:
    """Convert a JSON value to a dataclass, list or plain value of type `kind`."""
    origin, choices = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is list:
        if not isinstance(value, list):
            raise InputError(f"{where} is not a list")
        return [_build(choices[0], one, f"{where}[{at}]") for at, one in enumerate(value)]
    if origin is Literal:
        if value not in choices:
            raise InputError(f"{where} is {value!r}, not one of {', '.join(choices)}")
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _build(choices[0], value, where)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where} is {value!r}, not a {kind.__name__}")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict):
        raise InputError(f"{where or 'the report'} is not an object")
    inner = {name: f"{where}.{name}".lstrip(".") for name in [*hints, *value]}
    for name, path in inner.items():
        if name not in value:
            raise InputError(f"{path} is missing")
        if name not in hints:
            raise InputError(f"{path} is unknown")
    return kind(**{name: _build(hints[name], value[name], inner[name]) for name in hints})
