"""The door of the benchmarks: argv -> cases -> a table, and JSON when asked for.

It parses with argparse because machines with accelerators may lack tyro.
"""

import argparse

from benchmarks.commands import features as benchmark_features
from benchmarks.commands import sampling as benchmark_sampling
from benchmarks.commands import show as benchmark_show
from benchmarks.commands import streaming as benchmark_streaming
from benchmarks.commands import training as benchmark_training


def main() -> None:
    """Measure what the command line names."""
    args = _parser().parse_args()
    args.run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="v2s benchmark", description="Measure speed and memory on this machine."
    )
    benchmarks = parser.add_subparsers(title="benchmarks", required=True)
    benchmark_sampling.add_to(
        benchmarks.add_parser("sampling", help="the sampler: samples per second")
    )
    benchmark_streaming.add_to(
        benchmarks.add_parser("streaming", help="latency of a stream; clips of many lengths")
    )
    benchmark_training.add_to(
        benchmarks.add_parser("training", help="the training step: samples per second")
    )
    benchmark_features.add_to(
        benchmarks.add_parser("features", help="VGG19: frames per second; optical flow: pairs")
    )
    benchmark_show.add_to(
        benchmarks.add_parser("show", help="reports of the sampler's speed, checked and drawn")
    )
    return parser
