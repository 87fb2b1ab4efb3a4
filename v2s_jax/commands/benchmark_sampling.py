"""`benchmark.py sampling`: the sampler's speed and memory."""

import argparse
from pathlib import Path

from v2s_jax.benchmarks.machine import describe_machine
from v2s_jax.benchmarks.peer import Peer, PeerSamplingRow, measure_peer_sampling, sampling_work
from v2s_jax.benchmarks.sampling import (
    SamplingCase,
    SamplingRow,
    load_config,
    measure_sampling,
)
from v2s_jax.benchmarks.table import SAMPLING_COLUMNS, SAMPLING_NOTES
from v2s_jax.commands.benchmark_report import (
    add_common_options,
    add_peer_options,
    machine_line,
    preset_named,
    printed_rows,
    results_file,
    write_report,
)
from v2s_jax.commands.engines import DEFAULT_ENGINE, DEFAULT_WEIGHTS, add_engine_options
from v2s_jax.config import PRESETS
from v2s_jax.errors import InputError
from v2s_jax.generate import DEFAULT_TILE

DEFAULT_BATCHES = (1, DEFAULT_TILE)
"""One clip alone, and as many as sample.py computes at once."""
TILE_OF_BATCH = "batch"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this benchmark."""
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
    add_engine_options(parser, several=True)
    add_peer_options(parser, "generates as many clips after the rows")
    add_common_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    cases = _cases(args)
    peer = None if args.peer is None else Peer(args.peer, args.peer_python)
    if peer:
        for case in cases:
            sampling_work(load_config(case.model), case.batch, case.repeats)
    machine = describe_machine()
    with results_file(args.json) as file:
        rows = list(printed_rows(measure_sampling, cases, args.device, SAMPLING_COLUMNS, _title))
        peer_rows = _measure_peer(peer, cases) if peer else []
        if peer_rows:
            _print_peer(rows, peer_rows)
        print(f"\n{SAMPLING_NOTES}")
        print(machine_line(machine))
        if file is not None:
            write_report(file, "sampling", machine, rows=rows, peer_rows=peer_rows)
    if args.json is not None:
        print(f"{args.json}: the same figures")


def _cases(args: argparse.Namespace) -> list[SamplingCase]:
    model = args.checkpoint or preset_named(args.preset)
    return [
        SamplingCase(
            model=model,
            batch=batch,
            tile=batch if args.tile == TILE_OF_BATCH else _tile(args.tile),
            clip_sec=args.seconds,
            repeats=args.repeats,
            precision=args.precision,
            engine=engine,
            weights=weights,
        )
        for batch in args.batch or DEFAULT_BATCHES
        for engine in args.engine or [DEFAULT_ENGINE]
        for weights in args.weights or [DEFAULT_WEIGHTS]
    ]


def _tile(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"--tile {text}: use a number or `{TILE_OF_BATCH}`") from error


def _title(row: SamplingRow) -> str:
    return (
        f"sampling, preset {row.preset} ({row.parameters:,} parameters, weights: {row.weights}), "
        f"clips of {row.clip_sec:g} s at {row.sample_rate_hz} Hz, {len(row.run_secs)} runs, "
        f"precision {row.precision}, device {row.device_kind}"
    )


def _measure_peer(peer: Peer, cases: list[SamplingCase]) -> list[PeerSamplingRow]:
    """Let the copy generate batches of each size, once for each."""
    batches = dict.fromkeys(case.batch for case in cases)
    first = cases[0]
    config = load_config(first.model)
    return [
        measure_peer_sampling(peer, sampling_work(config, batch, first.repeats))
        for batch in batches
    ]


def _print_peer(rows: list[SamplingRow], peer_rows: list[PeerSamplingRow]) -> None:
    first = peer_rows[0]
    print(
        f"\nsamplernn-pytorch, the same sizes without video ({first.parameters:,} parameters), "
        f"PyTorch {first.torch}, {first.threads} threads, {first.samples} samples, after the rows"
    )
    for peer_row in peer_rows:
        print(f"batch {peer_row.batch}: {peer_row.samples_per_sec:,.0f} samples/s in total")
        for row in (row for row in rows if row.batch == peer_row.batch):
            times = row.samples_per_sec_total / peer_row.samples_per_sec
            print(f"  {row.engine}, {row.weight_format}: {times:.1f} times that")
