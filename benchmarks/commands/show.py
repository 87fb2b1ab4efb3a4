"""`benchmark.py show`: reports of the sampling benchmark, one's own or docs/benchmarks."""

import argparse
from pathlib import Path

from benchmarks.commands.report import draw_roofline, machine_line, plot_file
from benchmarks.commands.sampling_text import ceiling_lines, peer_lines, title
from benchmarks.report import SamplingReport, read_report
from benchmarks.table import SAMPLING_COLUMNS, header_lines, row_line
from v2s_jax.errors import InputError


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this command."""
    parser.description = (
        "Check reports of the sampling benchmark, print their tables, and draw their rooflines."
    )
    parser.add_argument("reports", nargs="+", type=Path, help="JSON files, from sampling --json")
    parser.add_argument("--plot", type=Path, help="file for the roofline of one report (PNG)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    reports = [read_report(path) for path in args.reports]
    if args.plot is not None and len(reports) > 1:
        raise InputError(f"--plot: draws one report, these are {len(reports)}: name one")
    with plot_file(args.plot) as picture:
        print("\n\n".join("\n".join(_lines(report)) for report in reports))
        if picture is not None:
            draw_roofline(picture, reports[0].rows, reports[0].ceilings, reports[0].machine)
    if args.plot is not None:
        print(f"{args.plot}: the roofline")


def _lines(report: SamplingReport) -> list[str]:
    return [
        title(report.rows[0]),
        f"{report.date}, {machine_line(report.machine)}, jax {report.machine.jax}",
        report.command,
        *ceiling_lines(report.ceilings),
        "",
        *header_lines(SAMPLING_COLUMNS),
        *(row_line(SAMPLING_COLUMNS, row) for row in report.rows),
        *peer_lines(report.rows, report.peer_rows),
    ]
