"""What all benchmarks share: options, fresh processes, a JSON file that is whole or not there."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args

from benchmarks.ceilings import Ceilings
from benchmarks.fresh_process import run_isolated
from benchmarks.machine import Machine
from benchmarks.sampling import SamplingRow
from benchmarks.table import Column, header_lines, row_line
from v2s_jax.cli.device import PLATFORMS, use_device
from v2s_jax.config import PRESETS, Config, Precision
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.io import atomic_write

LEFT_OUT = "run", "json", "plot"
"""Words that no figure depends on."""
FOLDERS = {"data": "DIR", "peer": "DIR", "peer_python": "PYTHON"}
"""Words whose folders are the user's own, and what stands for them."""

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
        raise unknown_name_error("--preset", name, PRESETS)
    return PRESETS[name]


def measured(measure: Callable[[Case], Row], case: Case, device: str | None) -> Row:
    """Return the case's figures, taken in a process of its own."""
    return run_isolated(_measure_on, measure, case, device)


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
def results_file(path: Path | None, option: str = "--json") -> Iterator[Path | None]:
    """Open the way to `path` before the measuring, which may take long."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder: name a file")
    with atomic_write(path) as temporary:
        yield temporary


@contextmanager
def plot_file(path: Path | None) -> Iterator[Path | None]:
    """Open the way to a picture as `results_file` does, where pictures can be drawn."""
    if path is not None:
        try:
            import_module("matplotlib")
        except ImportError as error:
            raise InputError(
                f"--plot {path}: matplotlib is not installed: install it, or draw the --json file "
                f"elsewhere with python -m benchmarks show"
            ) from error
    with results_file(path, "--plot") as temporary:
        yield temporary


def draw_roofline(
    path: Path, rows: list[SamplingRow], ceilings: Ceilings, machine: Machine
) -> None:
    """Draw the rows under the ceilings; matplotlib is imported only here."""
    from benchmarks.roofline import roofline_figure

    roofline_figure(path, rows, ceilings, f"{machine.cpu}, {machine.cores} cores")


def write_report(
    file: Path, benchmark: str, args: argparse.Namespace, machine: Machine, **parts: Any
) -> None:
    """Write the figures, what they were measured on, and how to measure them again."""
    report = {
        "benchmark": benchmark,
        "command": command_line(benchmark, args),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": parts["rows"][0].device_kind,
        "machine": machine,
        **parts,
    }
    file.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n")


def command_line(benchmark: str, args: argparse.Namespace) -> str:
    """Return the command with every option that the figures depend on, defaults too.

    A later version's defaults do not change what it measures; folders of this machine are left out.
    """
    words = ["python", "benchmark.py", benchmark]
    checkpoint = getattr(args, "checkpoint", None)
    for name, value in vars(args).items():
        if name in LEFT_OUT or value is None or (name == "preset" and checkpoint):
            continue
        if name == "peer_python" and args.peer is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", FOLDERS.get(name, str(one))]
    return shlex.join(words)


def machine_line(machine: Machine) -> str:
    """Return what the figures depend on, for people."""
    return f"{machine.cpu}, {machine.cores} cores, load average {machine.load_average}"
