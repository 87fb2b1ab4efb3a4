"""Shared by all benchmarks: options, isolated processes, tables, and JSON reports."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from v2s_jax.cli.device import use_device
from v2s_jax.config import PRESETS, Config, Precision
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.io import atomic_write, check_writable
from v2s_jax.processes import run_isolated

MAX_TABLE_WIDTH = 400
"""Characters. Wider than any table: a narrow terminal wraps lines, but no cell is cut."""

Case = TypeVar("Case")
Result = TypeVar("Result")
Row = dict[str, Any]
"""The figures of one case by name, units included: printed and written as they are."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkArgs:
    """Options of the benchmarks that run each case in its own process."""

    repeats: int = 5
    """Timed runs."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    json: Path | None = None
    """File to write the figures to, as JSON."""


@dataclass(frozen=True, kw_only=True)
class ModelArgs(BenchmarkArgs):
    """Options of the benchmarks that can be compared with samplernn-pytorch."""

    precision: Precision = "default"
    """Precision of matrix products; with default the device decides."""
    peer: Path | None = None
    """A checkout of samplernn-pytorch, to measure on the same work."""
    peer_python: str = sys.executable
    """A Python that has PyTorch."""


def print_table(rows: Sequence[Row]) -> None:
    """Print figures under their names; lists, such as each run's seconds, are in the JSON only."""
    table = Table(box=None, pad_edge=False)
    names = [name for name, value in rows[0].items() if not isinstance(value, list)]
    for name in names:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_format(row[name]) for name in names))
    Console(width=MAX_TABLE_WIDTH, markup=False, highlight=False).print(table)


def markdown_table(rows: list[Row]) -> list[str]:
    """Return the lines of a table; lists, such as each run's seconds, are in the JSON only."""
    names = [name for name, value in rows[0].items() if not isinstance(value, list)]
    cells = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    cells += [[_format(row[name]) for name in names] for row in rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def _format(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def check_at_least_one(**options: int | Sequence[int]) -> None:
    """Raise InputError for an option below 1."""
    for name, values in options.items():
        for value in [values] if isinstance(values, int) else values:
            if value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def get_preset(name: str) -> Config:
    """Return a preset; raise InputError for an unknown name."""
    if name not in PRESETS:
        raise unknown_name_error("--preset", name, PRESETS)
    return PRESETS[name]


def measure_isolated(measure: Callable[[Case], Result], case: Case, device: str | None) -> Result:
    """Measure a case in its own process, so that memory peaks and compilation are its own."""
    return run_isolated(_measure_on, measure, case, device)


def _measure_on(measure: Callable[[Case], Result], case: Case, device: str | None) -> Result:
    use_device(device)  # only here: the parent process must not take device memory
    return measure(case)


def measure_cases(
    measure: Callable[[Case], Result], cases: Sequence[Case], device: str | None
) -> Iterator[Result]:
    """Measure cases one after the other, with progress on stderr."""
    for number, case in enumerate(cases, start=1):
        if len(cases) > 1:
            print(f"case {number} of {len(cases)}", file=sys.stderr)
        yield measure_isolated(measure, case, device)


@contextmanager
def output_file(path: Path | None, option: str) -> Iterator[Path | None]:
    """Check that `path` can be written before the long measurement; write it atomically after."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder: name a file")
    with atomic_write(path) as temporary:
        yield temporary
    print(f"wrote {path}")


@contextmanager
def report_file(path: Path | None) -> Iterator[Path | None]:
    """Check that a report can be written before the long measurement; `write_report` writes it."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"--json {path}: is a folder: name a file")
    check_writable(path.parent)
    yield path
    print(f"wrote {path}")


def write_report(
    file: Path | None, benchmark: str, machine: Machine, device: str, **parts: Any
) -> None:
    """Write figures, machine, and the command that measured them, unless `file` is None.

    It replaces the report with fewer rows: a case that fails does not lose those before it.
    """
    if file is None:
        return
    report = {
        "benchmark": benchmark,
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "machine": machine,
        **parts,
    }
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n")
