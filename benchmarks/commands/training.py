"""`benchmark.py training`: the training step, and a copy of samplernn-pytorch beside it."""

import argparse
import dataclasses
from typing import get_args

from benchmarks.commands.report import (
    add_common_options,
    add_peer_options,
    machine_line,
    preset_named,
    printed_rows,
    results_file,
    write_report,
)
from benchmarks.machine import describe_machine
from benchmarks.samplernn_pytorch import Peer, PeerRow, measure_peer, peer_work
from benchmarks.table import (
    PEER_COLUMNS,
    TRAINING_COLUMNS,
    TRAINING_NOTES,
    header_lines,
    row_line,
)
from benchmarks.training import TrainingCase, TrainingRow, measure_training
from v2s_jax.config import PRESETS, Variant
from v2s_jax.errors import InputError

GPU_KIND = "gpu"
CPU_KIND = "cpu"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this benchmark."""
    parser.description = (
        "Measure the training step: compilation, speed, share of what the device can multiply, "
        "and memory, each batch in a fresh process."
    )
    parser.add_argument(
        "--preset", default="paper", help=f"config: {', '.join(PRESETS)} (default: paper)"
    )
    parser.add_argument(
        "--variant",
        choices=get_args(Variant),
        help="of the model (default: the preset's; samplernn-pytorch is unconditional)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="clips per update; give it again for another row (default: the preset's)",
    )
    add_peer_options(parser, "does the same work after each row")
    add_common_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    config = preset_named(args.preset)
    model = dataclasses.replace(config.model, variant=args.variant or config.model.variant)
    config = dataclasses.replace(config, model=model)
    args.batch = args.batch or [config.training.batch_clips]
    args.variant = model.variant
    cases = [TrainingCase(config, batch, args.repeats, args.precision) for batch in args.batch]
    peer = None if args.peer is None else _peer(args, cases)
    machine = describe_machine()
    with results_file(args.json) as file:
        rows, peer_rows = _measure(cases, args.device, peer)
        print(f"\n{TRAINING_NOTES}")
        if peer_rows:
            _print_peer(rows, peer_rows)
        print(machine_line(machine))
        if file is not None:
            write_report(file, "training", args, machine, rows=rows, peer_rows=peer_rows)
    if args.json is not None:
        print(f"{args.json}: the same figures")


def _peer(args: argparse.Namespace, cases: list[TrainingCase]) -> Peer:
    """Return the copy, checked before anything is measured."""
    peer = Peer(args.peer, args.peer_python)
    for case in cases:
        peer_work(case, CPU_KIND)
    if args.device == "tpu":
        raise InputError("--peer: samplernn-pytorch runs on CPU and GPU: leave it out on a TPU")
    return peer


def _measure(
    cases: list[TrainingCase], device: str | None, peer: Peer | None
) -> tuple[list[TrainingRow], list[PeerRow]]:
    """Measure each case in turn, the copy right after it."""
    rows: list[TrainingRow] = []
    peer_rows: list[PeerRow] = []
    printed = printed_rows(measure_training, cases, device, TRAINING_COLUMNS, _title)
    for case, row in zip(cases, printed, strict=True):
        rows.append(row)
        if peer:
            platform = CPU_KIND if row.device_kind == CPU_KIND else GPU_KIND
            peer_rows.append(measure_peer(peer, peer_work(case, platform)))
    return rows, peer_rows


def _title(row: TrainingRow) -> str:
    return (
        f"training, preset {row.preset}, variant {row.variant} ({row.parameters:,} parameters), "
        f"chunks of {row.chunk_samples} samples, {row.steps_per_call} updates per call, "
        f"{len(row.step_secs)} calls, precision {row.precision}, device {row.devices} x "
        f"{row.device_kind}"
    )


def _print_peer(rows: list[TrainingRow], peer_rows: list[PeerRow]) -> None:
    first = peer_rows[0]
    print(
        f"\nsamplernn-pytorch, the same sizes without video ({first.parameters:,} parameters), "
        f"PyTorch {first.torch}, {first.threads} threads; measured after each row above\n"
    )
    print(*header_lines(PEER_COLUMNS), sep="\n")
    for pair in zip(rows, peer_rows, strict=True):
        print(row_line(PEER_COLUMNS, pair))
    print()
