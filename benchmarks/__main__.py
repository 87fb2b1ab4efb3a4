"""`python -m benchmarks`: measure speed and memory on this machine."""

import tyro

from benchmarks.features import FeaturesArgs
from benchmarks.input import InputArgs
from benchmarks.sampling import SamplingArgs, ShowArgs
from benchmarks.streaming import StreamingArgs
from benchmarks.training import TrainingArgs
from v2s_jax.cli.run import run_cli

app = tyro.extras.SubcommandApp()
app.command(name="sampling")(SamplingArgs)
app.command(name="streaming")(StreamingArgs)
app.command(name="training")(TrainingArgs)
app.command(name="features")(FeaturesArgs)
app.command(name="input")(InputArgs)
app.command(name="show")(ShowArgs)


def main() -> None:
    """Run the benchmark that the command line names."""
    app.cli(prog="python -m benchmarks", description=__doc__).run()


if __name__ == "__main__":
    run_cli(main)
