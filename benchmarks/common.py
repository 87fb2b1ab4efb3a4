"""Shared by all benchmarks: options, isolated processes, tables, and JSON reports."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from v2s_jax.cli.device import use_device
from v2s_jax.config import PRESETS, Config, Precision
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.io import atomic_write
from v2s_jax.processes import run_isolated

OUTPUT_OPTIONS = "json", "plot"
"""Options that no figure depends on: left out of a report's command."""
PATH_PLACEHOLDERS = {"data": "DIR", "peer": "DIR", "peer_python": "PYTHON"}
"""Options that name a path of this machine, and what a report's command has instead."""
MAX_TABLE_WIDTH = 400
"""Characters. Wider than any table: a narrow terminal wraps lines, but no cell is cut."""

Case = TypeVar("Case")
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class BenchmarkArgs:
    """Options of every benchmark that measures cases."""

    repeats: int = 5
    """Timed runs."""
    precision: Precision = "default"
    """Precision of matrix products; with default the device decides."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    json: Path | None = None
    """File to write the figures to, as JSON."""


@dataclass(frozen=True, kw_only=True)
class PeerArgs:
    """Options for comparing with samplernn-pytorch."""

    peer: Path | None = None
    """A checkout of samplernn-pytorch, to measure on the same work."""
    peer_python: str = sys.executable
    """A Python that has PyTorch."""


class Column(NamedTuple):
    """One figure of a table's rows."""

    name: str
    unit: str
    format: Callable[[Any], str]


def print_table(columns: Sequence[Column], rows: Iterable[Any]) -> None:
    """Print rows under a header of two lines: name and unit."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(f"{column.name}\n{column.unit}", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(column.format(row) for column in columns))
    Console(width=MAX_TABLE_WIDTH, markup=False, highlight=False).print(table)


def format_mb(value: float | None) -> str:
    """Format megabytes; a dash where they are unknown."""
    return "-" if value is None else f"{value:,.0f}"


def format_share(value: float | None) -> str:
    """Format a share as a percentage; a dash where it is unknown."""
    return "-" if value is None else f"{value:.0%}"


def check_at_least_one(**options: int | None) -> None:
    """Raise InputError for an option below 1; None, for a default, passes."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def get_preset(name: str) -> Config:
    """Return a preset; raise InputError for an unknown name."""
    if name not in PRESETS:
        raise unknown_name_error("--preset", name, PRESETS)
    return PRESETS[name]


def measure_isolated(measure: Callable[[Case], Row], case: Case, device: str | None) -> Row:
    """Measure a case in its own process, so that memory peaks and compilation are its own."""
    return run_isolated(_measure_on, measure, case, device)


def _measure_on(measure: Callable[[Case], Row], case: Case, device: str | None) -> Row:
    use_device(device)  # only here: the parent process must not take device memory
    return measure(case)


def measure_cases(
    measure: Callable[[Case], Row], cases: Sequence[Case], device: str | None
) -> Iterator[Row]:
    """Measure cases one after the other, with progress on stderr."""
    for number, case in enumerate(cases, start=1):
        if len(cases) > 1:
            print(f"case {number} of {len(cases)}", file=sys.stderr)
        yield measure_isolated(measure, case, device)


@contextmanager
def output_file(path: Path | None, option: str = "--json") -> Iterator[Path | None]:
    """Check that `path` can be written before the long measurement; write it atomically after."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder: name a file")
    with atomic_write(path) as temporary:
        yield temporary
    print(f"wrote {path}")


def write_report(
    file: Path, benchmark: str, args: Any, machine: Machine, device: str, **parts: Any
) -> None:
    """Write figures, machine, and the command that measures them again."""
    report = {
        "benchmark": benchmark,
        "command": reproducing_command(benchmark, args),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "machine": machine,
        **parts,
    }
    file.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n")


def reproducing_command(benchmark: str, args: Any) -> str:
    """Return the command line with every option that the figures depend on, defaults included.

    With defaults, because those of a later version may differ. Paths of this machine are left out.
    """
    command = ["python", "-m", "benchmarks", benchmark]
    options = {field.name: getattr(args, field.name) for field in dataclasses.fields(args)}
    if options.get("checkpoint"):
        del options["preset"]
    if not options.get("peer"):
        options.pop("peer_python", None)
    for name, value in options.items():
        if name in OUTPUT_OPTIONS or value is None or isinstance(value, bool):
            continue
        for one in value if isinstance(value, tuple) else [value]:
            command += [f"--{name.replace('_', '-')}", PATH_PLACEHOLDERS.get(name, str(one))]
    return shlex.join(command)


def describe_load(machine: Machine) -> str:
    """Summarize in one line what the figures depend on."""
    return f"{machine.cpu}, {machine.cores} cores, load average {machine.load_average}"
