"""What all benchmarks share: options, fresh processes, a JSON file that is whole or not there."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from v2s_jax.benchmarks.fresh_process import in_fresh_process
from v2s_jax.benchmarks.machine import Machine
from v2s_jax.benchmarks.table import Column, header_lines, row_line
from v2s_jax.commands.device import PLATFORMS, use_device
from v2s_jax.config import PRESETS, Config, Precision
from v2s_jax.errors import InputError, unknown
from v2s_jax.files import whole_file

Case = TypeVar("Case")
Row = TypeVar("Row")


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default: 5)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="default",
        help="precision of matrix products (default: default, which the device decides)",
    )
    parser.add_argument(
        "--device", help=f"{', '.join(PLATFORMS)}; the best one there is unless given"
    )
    parser.add_argument("--json", type=Path, help="file for the same figures as JSON")


def add_peer_options(parser: argparse.ArgumentParser, when: str) -> None:
    """Add the options of a copy of samplernn-pytorch beside our rows; `when` says its turn."""
    parser.add_argument("--peer", type=Path, help=f"a checkout of samplernn-pytorch, which {when}")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="a Python with PyTorch (default: this one)"
    )


def preset_named(name: str) -> Config:
    """Return the preset; raise InputError when there is none of this name."""
    if name not in PRESETS:
        raise unknown("--preset", name, PRESETS)
    return PRESETS[name]


def measured(measure: Callable[[Case], Row], case: Case, device: str | None) -> Row:
    """Return the case's figures, taken in a process of its own."""
    return in_fresh_process(_measure_on, measure, case, device)


def _measure_on(measure: Callable[[Case], Row], case: Case, device: str | None) -> Row:
    """Run in a case's own process: only there may JAX take hold of the device."""
    use_device(device)
    return measure(case)


def printed_rows(
    measure: Callable[[Case], Row],
    cases: Iterable[Case],
    device: str | None,
    columns: Sequence[Column],
    title: Callable[[Row], str],
) -> Iterator[Row]:
    """Measure each case in turn; its line is there as soon as its figures are."""
    for number, case in enumerate(cases):
        row = measured(measure, case, device)
        if number == 0:
            print(f"{title(row)}\n")
            print(*header_lines(columns), sep="\n")
        print(row_line(columns, row), flush=True)
        yield row


@contextmanager
def results_file(path: Path | None) -> Iterator[Path | None]:
    """Open the way to `path` before the measuring, which may take long."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"--json {path}: is a folder: name a file")
    with whole_file(path) as temporary:
        yield temporary


def write_report(file: Path, benchmark: str, machine: Machine, **rows: list[Any]) -> None:
    """Write the figures, what they were measured on, and how to measure them again."""
    device_kind = rows["rows"][0].device_kind
    report: dict[str, Any] = {
        "benchmark": benchmark,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**dataclasses.asdict(machine), "device_kind": device_kind},
    }
    report |= {name: [dataclasses.asdict(row) for row in some] for name, some in rows.items()}
    file.write_text(json.dumps(report, indent=2) + "\n")


def machine_line(machine: Machine) -> str:
    """Return what the figures depend on, for people."""
    return f"{machine.cpu}, {machine.cores} cores, load average {machine.load_average}"
