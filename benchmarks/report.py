"""Reports of the sampling benchmark as files: what `benchmark.py sampling --json` writes.

docs/benchmarks/README.md describes the fields for people; the dataclasses below are the schema.
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
from benchmarks.sampling import SamplingRow
from v2s_jax.errors import InputError
from v2s_jax.io import wrap_read_errors

ROUNDING = 1e-9
"""Relative difference of figures that follow from one another."""


@dataclass(frozen=True)
class SamplingReport:
    """One run of the benchmark on one device."""

    benchmark: Literal["sampling"]
    command: str
    """Measures the same again; every option that the figures depend on, and no path of a machine
    but the checkpoint's."""
    date: str
    """ISO 8601, UTC."""
    device: str
    """Its kind, as JAX names it."""
    machine: Machine
    ceilings: Ceilings
    rows: list[SamplingRow]
    peer_rows: list[PeerSamplingRow]

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("holds no row")
        for number, row in enumerate(self.rows):
            for name in ("run_sec_median", "peak_flop_per_sec"):
                _check_positive(f"row {number}: {name}", getattr(row, name))
            wanted = {
                "run_sec_median": statistics.median(row.run_secs),
                "samples_per_sec_per_stream": row.samples_per_clip / row.run_sec_median,
                "samples_per_sec_total": row.batch * row.samples_per_clip / row.run_sec_median,
                "share_of_multiplying": row.flop_per_sec / row.peak_flop_per_sec,
            }
            for name, value in wanted.items():
                if not math.isclose(getattr(row, name), value, rel_tol=ROUNDING):
                    raise InputError(
                        f"row {number}: {name} is {getattr(row, name):g}, but the other figures "
                        f"make {value:g}"
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
        report: SamplingReport = _built(SamplingReport, json.loads(data), "")
    except (InputError, ValueError) as error:
        raise InputError(
            f"{path}: {error}: give a file that python -m benchmarks sampling --json wrote"
        ) from error
    return report


def _built(kind: Any, value: Any, where: str) -> Any:
    """Return a JSON value as a dataclass, list or plain value of this type."""
    origin, choices = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is list:
        if not isinstance(value, list):
            raise InputError(f"{where} is not a list")
        return [_built(choices[0], one, f"{where}[{at}]") for at, one in enumerate(value)]
    if origin is Literal:
        if value not in choices:
            raise InputError(f"{where} is {value!r}, not one of {', '.join(choices)}")
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _built(choices[0], value, where)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where} is {value!r}, not a {kind.__name__}")
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict):
        raise InputError(f"{where or 'it'} is not an object")
    inner = {name: f"{where}.{name}".lstrip(".") for name in [*hints, *value]}
    for name, path in inner.items():
        if name not in value:
            raise InputError(f"{path} is missing")
        if name not in hints:
            raise InputError(f"{path} is unknown")
    return kind(**{name: _built(hints[name], value[name], inner[name]) for name in hints})
