"""`python -m benchmarks`: measure speed and memory on this machine."""

from v2s_jax.cli.run import exit_on_interrupt, run_cli


def main() -> None:
    """Run the benchmark that the command line names."""
    with exit_on_interrupt():  # these imports take seconds
        from benchmarks.device import DeviceArgs
        from benchmarks.features import FeaturesArgs
        from benchmarks.first_sound import FirstSoundArgs
        from benchmarks.growth import GrowthArgs
        from benchmarks.input import InputArgs
        from benchmarks.sampling import SamplingArgs, ShowArgs
        from benchmarks.sampling_profile import ProfileArgs
        from benchmarks.streaming import StreamingArgs
        from benchmarks.tpu import TpuArgs
        from benchmarks.training import TrainingArgs
        from v2s_jax.cli.arguments import parse_subcommand

    commands = {
        "sampling": SamplingArgs,
        "streaming": StreamingArgs,
        "training": TrainingArgs,
        "tpu": TpuArgs,
        "features": FeaturesArgs,
        "input": InputArgs,
        "first-sound": FirstSoundArgs,
        "growth": GrowthArgs,
        "profile": ProfileArgs,
        "device": DeviceArgs,
        "show": ShowArgs,
    }
    parse_subcommand(commands, "python -m benchmarks", __doc__).run()


if __name__ == "__main__":
    run_cli(main)
