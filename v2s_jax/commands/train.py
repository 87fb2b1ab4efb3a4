"""The door of training: argv -> config -> one call."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from v2s_jax.commands.device import use_device
from v2s_jax.config import PRESETS, Config
from v2s_jax.records import appearance_statistics, batches, check_fits, open_data_set, padded_size
from v2s_jax.training.loop import train
from v2s_jax.types import Batch


@dataclass(frozen=True)
class TrainArgs:
    """Train a model; run again with the same words, it goes on where it stopped."""

    data: Path
    """Folder that `python -m data.prepare` wrote."""
    workdir: Path
    """Folder of the run: checkpoints, metrics.jsonl, TensorBoard events, params.safetensors."""
    config: Annotated[Config, tyro.conf.arg(name="")]
    """The preset, each field of it an option."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""


def parse() -> TrainArgs:
    """Read the command line; the first word is a preset's name."""
    presets = {
        name: TrainArgs(tyro.MISSING, tyro.MISSING, preset) for name, preset in PRESETS.items()
    }
    descriptions = {name: f"the {name} preset" for name in presets}
    command: type[TrainArgs] = tyro.extras.subcommand_type_from_defaults(
        presets, descriptions, prefix_names=False
    )
    return tyro.cli(command, prog="train.py", description=TrainArgs.__doc__)


def main() -> None:
    """Train as the command line says."""
    args = parse()
    use_device(args.device)
    data = open_data_set(args.data, "train")
    config = args.config
    check_fits(data, config)
    print(f"{len(data)} clips from {data.directory}")
    print(config.to_json())

    def open_batches(first_batch: int) -> Generator[Batch]:
        return batches(data, config, first_batch, slice(None))

    samples, _ = padded_size(data, config)
    statistics = appearance_statistics(data, config.training.seed)
    finished = train(config, open_batches, samples, statistics, args.workdir)
    print(f"step {finished.step}: {finished.nll:.4f} nats per sample")
    print(f"checkpoints and logs: {args.workdir}; parameters alone: {finished.params_file}")
