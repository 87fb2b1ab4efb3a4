"""The door of the benchmarks: argv -> cases -> a table, and JSON when asked for.

It parses with argparse because machines with accelerators may lack tyro.
"""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from v2s_jax.benchmarks.fresh_process import in_fresh_process
from v2s_jax.benchmarks.machine import Machine, describe_machine
from v2s_jax.benchmarks.sampling import SamplingCase, SamplingRow, measure_sampling
from v2s_jax.benchmarks.streaming import measure_ragged, measure_streaming
from v2s_jax.benchmarks.table import SAMPLING_COLUMNS, SAMPLING_NOTES, header_lines, row_line
from v2s_jax.commands.device import PLATFORMS, use_device
from v2s_jax.config import PRESETS, Config, Precision
from v2s_jax.errors import InputError, unknown
from v2s_jax.files import whole_file
from v2s_jax.generate import DEFAULT_TILE

DEFAULT_BATCHES = (1, DEFAULT_TILE)
"""One clip alone, and as many as sample.py computes at once."""
TILE_OF_BATCH = "batch"


def main() -> None:
    """Measure what the command line names."""
    args = _parser().parse_args()
    args.run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark.py", description="Measure speed and memory on this machine."
    )
    benchmarks = parser.add_subparsers(title="benchmarks", required=True)
    _add_sampling(benchmarks.add_parser("sampling", help="the sampler: samples per second"))
    _add_streaming(
        benchmarks.add_parser("streaming", help="latency of a stream; clips of many lengths")
    )
    return parser


def _add_streaming(parser: argparse.ArgumentParser) -> None:
    parser.description = "Time the blocks of a stream, and clips of 2 to 10 s in refilled rows."
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", default="demo", help="config with random weights")
    model.add_argument("--checkpoint", type=Path, help="a .safetensors file or a --workdir instead")
    parser.add_argument("--tile", type=int, default=DEFAULT_TILE, help="rows computed at once")
    parser.add_argument("--video-frames", type=int, default=156, help="length of the stream")
    parser.add_argument("--clips", type=int, default=16, help="clips of many lengths")
    parser.add_argument("--device", help=f"{', '.join(PLATFORMS)}")
    parser.set_defaults(run=_run_streaming)


def _run_streaming(args: argparse.Namespace) -> None:
    for option, value in (("--video-frames", args.video_frames), ("--clips", args.clips)):
        if value < 1:
            raise InputError(f"{option} {value}: must be at least 1")
    use_device(args.device)
    model = args.checkpoint or _preset(args.preset)
    streamed = measure_streaming(model, args.tile, args.video_frames)
    print(
        f"stream, {streamed.preset}, tile {streamed.tile}: first block after "
        f"{streamed.first_block_ms:.0f} ms; blocks {streamed.block_ms_median:.1f} ms (median), "
        f"{streamed.block_ms_max:.1f} ms (longest); {streamed.x_real_time:.1f} x real time"
    )
    ragged = measure_ragged(model, args.tile, args.clips)
    rates = (ragged.samples / ragged.refilled_sec, ragged.samples / ragged.tiles_sec)
    print(
        f"{ragged.clips} clips of 2 to 10 s: {rates[0]:,.0f} samples/s with refilled rows, "
        f"{rates[1]:,.0f} a tile of similar lengths at a time"
    )


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure the sampler: compilation, speed and memory, each batch in a fresh process."
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--preset",
        default="demo",
        help=f"config to measure, with random weights: {', '.join(PRESETS)} (default: demo)",
    )
    model.add_argument("--checkpoint", type=Path, help="a .safetensors file or a --workdir instead")
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="clips side by side; give it again for another row of the table "
        f"(default: {', '.join(map(str, DEFAULT_BATCHES))})",
    )
    parser.add_argument(
        "--tile",
        default=str(DEFAULT_TILE),
        help="rows computed at once: a number, or `batch` for as many as there are clips "
        f"(default: {DEFAULT_TILE}, whose sound is that of sample.py)",
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="length of each clip (default: 4)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default: 5)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="default",
        help="precision of matrix products (default: default, as sample.py)",
    )
    parser.add_argument(
        "--device", help=f"{', '.join(PLATFORMS)}; the best one there is unless given"
    )
    parser.add_argument("--json", type=Path, help="file for the same figures as JSON")
    parser.set_defaults(run=_run_sampling)


def _run_sampling(args: argparse.Namespace) -> None:
    cases = _cases(args)
    machine = describe_machine()
    with _results_file(args.json) as file:
        rows = _measure_and_print(cases, args.device)
        print(f"\n{SAMPLING_NOTES}")
        print(f"{machine.cpu}, {machine.cores} cores, load average {machine.load_average}")
        if file is not None:
            file.write_text(json.dumps(_report("sampling", rows, machine), indent=2) + "\n")
    if args.json is not None:
        print(f"{args.json}: the same figures")


def _cases(args: argparse.Namespace) -> list[SamplingCase]:
    model = args.checkpoint or _preset(args.preset)
    return [
        SamplingCase(
            model=model,
            batch=batch,
            tile=batch if args.tile == TILE_OF_BATCH else _tile(args.tile),
            clip_sec=args.seconds,
            repeats=args.repeats,
            precision=args.precision,
        )
        for batch in args.batch or DEFAULT_BATCHES
    ]


def _preset(name: str) -> Config:
    if name not in PRESETS:
        raise unknown("--preset", name, PRESETS)
    return PRESETS[name]


def _tile(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"--tile {text}: use a number or `{TILE_OF_BATCH}`") from error


def _measure_and_print(cases: list[SamplingCase], device: str | None) -> list[SamplingRow]:
    """Measure each case in turn; its line is there as soon as its figures are."""
    rows: list[SamplingRow] = []
    for case in cases:
        row = in_fresh_process(_measure_on, device, case)
        if not rows:
            print(
                f"sampling, preset {row.preset} ({row.parameters:,} parameters, weights: "
                f"{row.weights}), clips of {row.clip_sec:g} s at {row.sample_rate_hz} Hz, "
                f"{case.repeats} runs, precision {row.precision}, device {row.device_kind}\n"
            )
            print(*header_lines(SAMPLING_COLUMNS), sep="\n")
        print(row_line(SAMPLING_COLUMNS, row), flush=True)
        rows.append(row)
    return rows


def _measure_on(device: str | None, case: SamplingCase) -> SamplingRow:
    """Run in a case's own process: only there may JAX take hold of the device."""
    use_device(device)
    return measure_sampling(case)


@contextmanager
def _results_file(path: Path | None) -> Iterator[Path | None]:
    """Open the way to `path` before the measuring, which may take long."""
    if path is None:
        yield None
        return
    if path.is_dir():
        raise InputError(f"--json {path}: is a folder: name a file")
    with whole_file(path) as temporary:
        yield temporary


def _report(benchmark: str, rows: list[SamplingRow], machine: Machine) -> dict[str, Any]:
    """Return what the JSON file holds."""
    return {
        "benchmark": benchmark,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**dataclasses.asdict(machine), "device_kind": rows[0].device_kind},
        "rows": [dataclasses.asdict(row) for row in rows],
    }
