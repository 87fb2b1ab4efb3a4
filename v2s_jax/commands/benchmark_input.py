"""`benchmark.py input`: measured by `data.benchmark_input`, which knows data sets.

A process of its own, since this package neither writes data sets nor imports what does.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from v2s_jax.place import DATA_PACKAGE, ROOT

PROGRAM = f"{DATA_PACKAGE}.benchmark_input"


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
    words = [
        f"--{name}={value}"
        for name, value in vars(args).items()
        if name != "run" and value is not None
    ]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # -P: another checkout in the working directory is not what was started.
    command = [sys.executable, "-P", "-m", PROGRAM, *words]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path})
    if ended.returncode:
        sys.exit(ended.returncode)  # it has said why
