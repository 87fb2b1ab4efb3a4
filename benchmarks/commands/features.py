"""`benchmark.py features`: VGG19 on this device, and optical flow on this CPU."""

import argparse
from typing import Any, get_args

from benchmarks.commands.report import (
    add_common_options,
    machine_line,
    printed_rows,
    results_file,
    write_report,
)
from benchmarks.features import FeaturesCase, FeaturesRow, measure_features
from benchmarks.machine import describe_machine
from benchmarks.table import (
    FEATURES_COLUMNS,
    FEATURES_NOTES,
    FLOW_COLUMNS,
    header_lines,
    row_line,
)
from v2s_jax.config import FlowMethod, VggPrecision
from v2s_jax.errors import InputError

PRECISIONS: dict[str, VggPrecision] = {
    "default": "float32",
    "highest": "float32",
    "bfloat16": "bfloat16",
}
"""What extraction computes in, by the common option's words."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this benchmark."""
    parser.description = "Measure VGG19 up to fc6 on this device, and optical flow on this CPU."
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="pictures on each device; give it again for another row (default: as in extraction)",
    )
    add_common_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if args.precision not in PRECISIONS:
        raise InputError(f"--precision {args.precision}: use one of {', '.join(PRECISIONS)}")
    precision = PRECISIONS[args.precision]
    cases = [FeaturesCase(args.repeats, precision, batch) for batch in args.batch or [None]]
    machine = describe_machine()
    with results_file(args.json) as file:
        rows = list(printed_rows(measure_features, cases, args.device, FEATURES_COLUMNS, _title))
        flow_rows = _measure_flow(args.repeats)
        print(f"\n{FEATURES_NOTES}\n{machine_line(machine)}")
        if file is not None:
            write_report(file, "features", args, machine, rows=rows, flow_rows=flow_rows)
    if args.json is not None:
        print(f"{args.json}: the same figures")


def _title(row: FeaturesRow) -> str:
    return (
        f"{row.network} up to fc6, {row.flop_per_frame / 1e9:.1f} GFLOP a picture, "
        f"{row.precision}, {len(row.run_secs)} runs, {row.devices} x {row.device_kind}"
    )


def _measure_flow(repeats: int) -> list[Any]:
    """Measure the methods that are there; machines with accelerators may lack OpenCV."""
    try:
        from benchmarks.flow import measure_flow
    except ImportError as error:
        print(f"\noptical flow: not measured ({error})")
        return []
    rows = []
    print(f"\noptical flow, {repeats} pairs\n")
    print(*header_lines(FLOW_COLUMNS), sep="\n")
    for method in get_args(FlowMethod):
        try:
            rows.append(measure_flow(method, repeats))
        except InputError as error:
            print(error)
        else:
            print(row_line(FLOW_COLUMNS, rows[-1]), flush=True)
    return rows
