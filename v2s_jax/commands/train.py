"""The door of training: argv -> config -> one call."""

import sys
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from v2s_jax.commands.device import use_device
from v2s_jax.commands.words import read_words
from v2s_jax.config import PRESETS, Config
from v2s_jax.records import batches, check_fits, feature_statistics, open_data_set, padded_size
from v2s_jax.training.loop import train
from v2s_jax.types import Batch

if TYPE_CHECKING:
    Preset = Config
else:
    Preset = tyro.extras.subcommand_type_from_defaults(
        PRESETS, {name: f"the {name} preset" for name in PRESETS}, prefix_names=False
    )
"""A config, chosen by a preset's name; each field of it is an option."""


TERMINATED_CODE = 143  # shells report a program ended by signal 15 as 128 + 15


@dataclass(frozen=True)
class TrainArgs:
    """Train a model; run again with the same words, it goes on where it stopped."""

    data: str
    """Folder that `python -m data.prepare` wrote, or the gs:// URL of its copy."""
    workdir: Path
    """Folder of the run: checkpoints, metrics.jsonl, TensorBoard events, params.safetensors."""
    config: Annotated[Preset, tyro.conf.arg(name="")]
    """The preset."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""


def parse() -> TrainArgs:
    """Read the command line; the first word is a preset's name."""
    parser = partial(
        tyro.cli,
        TrainArgs,
        config=(tyro.conf.CascadeSubcommandArgs,),  # --data and --workdir after the preset's name
    )
    return read_words(parser, prog="train.py", description=TrainArgs.__doc__)


def main() -> None:
    """Train as the command line says."""
    args = parse()
    use_device(args.device)
    data = open_data_set(args.data, "train")
    config = args.config
    check_fits(data, config)
    category = config.training.category
    if category is not None:
        data = data.of_category(category)
    print(f"{len(data)} clips{f' of {category}' if category else ''} from {data.directory}")
    print(config.to_json())

    def open_batches(first_batch: int) -> Generator[Batch]:
        return batches(data, config, first_batch, slice(None))

    samples, _ = padded_size(data, config)
    statistics = feature_statistics(data, config.training.seed)
    finished = train(config, open_batches, samples, statistics, args.workdir)
    if finished.params_file is None:
        print(
            f"stopped at step {finished.step} (SIGTERM): checkpoint saved in {args.workdir}; the "
            "same words go on from it",
            file=sys.stderr,
        )
        sys.exit(TERMINATED_CODE)
    ended = "finished before" if finished.nll is None else f"{finished.nll:.4f} nats per sample"
    print(f"step {finished.step}: {ended}")
    print(f"checkpoints and logs: {args.workdir}; parameters alone: {finished.params_file}")
