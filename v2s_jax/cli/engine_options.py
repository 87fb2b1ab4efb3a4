"""The words that choose an engine and the format of its weights, for every command that has them.

sample.py keeps to one engine whatever is built on a machine: another one draws other levels at
near-ties, so the same seed would not everywhere be the same sound.
"""

import argparse
from typing import get_args

from v2s_jax.kernels.build import COMMAND
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat

DEFAULT_ENGINE: EngineName = "scan"
DEFAULT_WEIGHTS: WeightFormat = "float32"
ENGINE_HELP = f"What runs the tiers; cpu is built once, by {COMMAND}."
WEIGHTS_HELP = "How the weights lie in memory; fewer bits are faster where the engine is cpu."


def add_engine_options(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Add --engine and --weights; with `several` each can be given more than once, for rows."""
    for option, kinds, default, told in (
        ("--engine", EngineName, DEFAULT_ENGINE, ENGINE_HELP),
        ("--weights", WeightFormat, DEFAULT_WEIGHTS, WEIGHTS_HELP),
    ):
        if several:
            more = f"{told} Give it again for more rows (default: {default})"
            parser.add_argument(option, choices=get_args(kinds), action="append", help=more)
        else:
            more = f"{told} (default: {default})"
            parser.add_argument(option, choices=get_args(kinds), default=default, help=more)
