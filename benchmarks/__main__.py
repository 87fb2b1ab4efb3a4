"""`python -m benchmarks`: measure speed and memory on this machine."""

from benchmarks.features import FeaturesArgs
from benchmarks.input import InputArgs
from benchmarks.sampling import SamplingArgs, ShowArgs
from benchmarks.streaming import StreamingArgs
from benchmarks.training import TrainingArgs
from v2s_jax.cli.arguments import parse_subcommand
from v2s_jax.cli.run import run_cli

COMMANDS = {
    "sampling": SamplingArgs,
    "streaming": StreamingArgs,
    "training": TrainingArgs,
    "features": FeaturesArgs,
    "input": InputArgs,
    "show": ShowArgs,
}


def main() -> None:
    """Run the benchmark that the command line names."""
    parse_subcommand(COMMANDS, "python -m benchmarks", __doc__).run()


if __name__ == "__main__":
    run_cli(main)
