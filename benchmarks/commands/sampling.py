"""`benchmark.py sampling`: the sampler's speed and memory."""

import argparse
from functools import partial
from pathlib import Path

from benchmarks.ceilings import measure_ceilings
from benchmarks.commands.report import (
    add_common_options,
    add_peer_options,
    draw_roofline,
    machine_line,
    measured,
    plot_file,
    preset_named,
    printed_rows,
    results_file,
    write_report,
)
from benchmarks.commands.sampling_text import ceiling_lines, peer_lines, title
from benchmarks.machine import describe_machine
from benchmarks.samplernn_pytorch import Peer, PeerSamplingRow, measure_peer_sampling, sampling_work
from benchmarks.sampling import (
    SamplingCase,
    SamplingRow,
    load_config,
    measure_sampling,
)
from benchmarks.table import SAMPLING_COLUMNS, SAMPLING_NOTES
from v2s_jax.cli.engine_options import DEFAULT_ENGINE, DEFAULT_WEIGHTS, add_engine_options
from v2s_jax.config import PRESETS, Config
from v2s_jax.errors import InputError
from v2s_jax.sampling import DEFAULT_BATCH_SIZE

DEFAULT_BATCHES = (1, DEFAULT_BATCH_SIZE)
"""One clip alone, and as many as sample.py computes at once."""
TILE_OF_BATCH = "batch"
CPU = "cpu"


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
    model.add_argument(
        "--checkpoint",
        type=Path,
        help="a .safetensors file, a --workdir, or frame, seq or flow: one that ships",
    )
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="clips side by side; give it again for another row of the table "
        f"(default: {', '.join(map(str, DEFAULT_BATCHES))})",
    )
    parser.add_argument(
        "--batch-size",
        action="append",
        help="rows computed at once: a number, or `batch` for as many as there are clips; give it "
        f"again for more rows (default: {DEFAULT_BATCH_SIZE}, whose sound is that of sample.py)",
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="length of each clip (default: 4)"
    )
    add_engine_options(parser, several=True)
    add_peer_options(parser, "generates as many clips after the rows")
    add_common_options(parser)
    parser.add_argument("--plot", type=Path, help="file for the roofline of the rows (PNG)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    args.batch = args.batch or list(DEFAULT_BATCHES)
    args.batch_size = args.batch_size or [str(DEFAULT_BATCH_SIZE)]
    args.engine = args.engine or [DEFAULT_ENGINE]
    args.weights = args.weights or [DEFAULT_WEIGHTS]
    cases = _cases(args)
    peer = None if args.peer is None else Peer(args.peer, args.peer_python)
    config = load_config(cases[0].model)
    if peer:
        sampling_work(config, cases[0].batch, args.repeats, CPU)
    machine = describe_machine()
    with results_file(args.json) as file, plot_file(args.plot) as picture:
        models = [(config.model, case.weights) for case in cases]
        run = partial(measure_ceilings, precision=args.precision)
        ceilings = measured(run, models, args.device)
        print(*ceiling_lines(ceilings), "", sep="\n", flush=True)
        measure = partial(measure_sampling, ceilings=ceilings)
        rows = list(printed_rows(measure, cases, args.device, SAMPLING_COLUMNS, title))
        peer_rows = _measure_peer(peer, rows, config, args.repeats) if peer else []
        print("", *peer_lines(rows, peer_rows), SAMPLING_NOTES, machine_line(machine), sep="\n")
        parts = {"ceilings": ceilings, "rows": rows, "peer_rows": peer_rows}
        if file is not None:
            write_report(file, "sampling", args, machine, **parts)
        if picture is not None:
            draw_roofline(picture, rows, ceilings, machine)
    for path, what in ((args.json, "the same figures"), (args.plot, "the roofline")):
        if path is not None:
            print(f"{path}: {what}")


def _cases(args: argparse.Namespace) -> list[SamplingCase]:
    model = args.checkpoint or preset_named(args.preset)
    return [
        SamplingCase(
            model=model,
            batch=batch,
            batch_size=batch if batch_size == TILE_OF_BATCH else _tile(batch_size),
            clip_sec=args.seconds,
            repeats=args.repeats,
            precision=args.precision,
            engine=engine,
            weights=weights,
        )
        for batch in args.batch
        for batch_size in args.batch_size
        for engine in args.engine
        for weights in args.weights
    ]


def _tile(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"--batch-size {text}: use a number or `{TILE_OF_BATCH}`") from error


def _measure_peer(
    peer: Peer, rows: list[SamplingRow], config: Config, repeats: int
) -> list[PeerSamplingRow]:
    """Let the copy generate batches of each size, once for each, on the rows' kind of device."""
    platform = CPU if rows[0].device_kind == CPU else "gpu"
    return [
        measure_peer_sampling(peer, sampling_work(config, batch, repeats, platform))
        for batch in dict.fromkeys(row.batch for row in rows)
    ]
