"""`benchmark.py input`: measured by `data.benchmark_input`, which knows data sets.

A process of its own, since this package neither writes data sets nor imports what does.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from v2s_jax.errors import InputError

ROOT = Path(__file__).parents[2]
PROGRAM = "data.benchmark_input"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the words of this benchmark."""
    parser.description = (
        "Measure the way of the data: clips per second from videos to features, and from shards "
        "to batches, beside what one H200 can train on."
    )
    parser.add_argument(
        "--data", help="a data set to read; random clips of 10 s are written unless given"
    )
    parser.add_argument(
        "--clips", type=int, default=256, help="how many of these random clips (default: 256)"
    )
    parser.add_argument(
        "--videos",
        type=int,
        default=12,
        help="videos to extract from, 0 or at least 2 (default: 12)",
    )
    parser.add_argument("--batch", type=int, default=128, help="clips in a batch (default: 128)")
    parser.add_argument("--repeats", type=int, default=5, help="timed batches (default: 5)")
    parser.add_argument(
        "--extractions",
        type=int,
        default=3,
        help="times that the videos are extracted (default: 3)",
    )
    parser.add_argument("--json", type=Path, help="file for the same figures as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if not (ROOT / "data" / "benchmark_input.py").exists():
        raise InputError(f"{ROOT}: no data/ there: run benchmark.py in a checkout of the source")
    words = [
        f"--{name}={value if name != 'json' else value.absolute()}"
        for name, value in vars(args).items()
        if name != "run" and value is not None
    ]
    ended = subprocess.run([sys.executable, "-m", PROGRAM, *words], cwd=ROOT)
    if ended.returncode:
        sys.exit(ended.returncode)  # it has said why
