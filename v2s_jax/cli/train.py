"""The door of training: argv -> config -> one call, or one for each category."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from v2s_jax.cli.device import use_device
from v2s_jax.config import PRESETS, Config
from v2s_jax.datasets import (
    ClipDataset,
    ClipSource,
    CorruptPolicy,
    batches,
    check_fits,
    feature_statistics,
    held_out_batches,
    open_dataset,
    padded_size,
    shuffled_indices,
)
from v2s_jax.errors import InputError
from v2s_jax.evaluation import AudioLogger
from v2s_jax.training.loop import TrainingData, TrainResult, train
from v2s_jax.training.parallel import connect
from v2s_jax.training.validation import ValidationSet
from v2s_jax.types import Batch

if TYPE_CHECKING:
    Preset = Config
else:
    Preset = tyro.extras.subcommand_type_from_defaults(
        PRESETS, {name: f"the {name} preset" for name in PRESETS}, prefix_names=False
    )
"""A config, chosen by a preset's name; each field of it is an option."""


OpenSplit = Callable[[str], ClipSource]
"""Open one split of the data."""

OpenGenerated = Callable[[str, Config, int | None, int], AbstractContextManager[OpenSplit]]
"""Open data made while they are read: what follows `KIND:`, the config, how many processes make
them, and the MB of memory that may keep what was made. They end with the block."""

NO_GENERATED: Mapping[str, OpenGenerated] = MappingProxyType({})

TERMINATED_CODE = 143  # shells report a program ended by signal 15 as 128 + 15


@dataclass(frozen=True)
class RunOptions:
    """How a run goes, which changes nothing of what it computes."""

    each_category: bool = False
    """Train one model after the other, on each category alone, in WORKDIR/CATEGORY: the paper's
    ten models of a variant. Those that are finished are left as they are."""
    profile: bool = False
    """Write a profile of five compiled calls to WORKDIR/profile."""
    distributed: bool = False
    """One of several processes of a TPU pod, which tells each its place."""
    coordinator: str | None = None
    """Elsewhere: HOST:PORT of the first process, the same words for all but --run.process."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """Which one this is, from 0."""
    corrupt: CorruptPolicy = "stop"
    """What to do about damaged shards: stop, or drop each from its first damaged record on. To
    find these, all records are read at each start."""
    workers: int | None = None
    """Processes that make the clips of --data synthetic:PRESET; one for each core unless given."""
    keep_mb: int = 2_048
    """Memory that may keep such clips; those beyond it are made again each time."""
    heartbeat_sec: int = 60
    """Seconds of silence after which a process counts as lost, and the others end."""

    def __post_init__(self) -> None:
        given = [self.coordinator, self.processes, self.process]
        if any(value is not None for value in given) and None in given:
            raise InputError(
                "--run.coordinator, --run.processes and --run.process belong together: give all "
                "three, or on a TPU pod --run.distributed alone"
            )
        if self.processes is not None and not 0 <= (self.process or 0) < self.processes:
            raise InputError(
                f"--run.process {self.process}: use 0 to {self.processes - 1} of the "
                f"{self.processes} processes"
            )
        if self.heartbeat_sec < 1:
            raise InputError(f"--run.heartbeat-sec {self.heartbeat_sec}: use at least 1")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--run.workers {self.workers}: use at least 1")
        if self.keep_mb < 0:
            raise InputError(f"--run.keep-mb {self.keep_mb}: use 0 (none) or more")


@dataclass(frozen=True)
class TrainArgs:
    """Train a model; run again with the same words, it goes on where it stopped."""

    data: str
    """Folder that `prepare` wrote, or the gs:// URL of its copy; or
    synthetic:PRESET[,seed=N][,probe=NAME]: the same clips made in memory, without files."""
    workdir: Path
    """Folder of the run: checkpoints, metrics.jsonl, TensorBoard events, params.safetensors. Of
    several processes only the first needs it."""
    config: Annotated[Preset, tyro.conf.arg(name="")]
    """The preset."""
    run: RunOptions = field(default_factory=RunOptions)
    """How the run goes."""
    device: str | None = None
    """Platform to run on: cpu, gpu or tpu; the best one there is unless given."""


def parse() -> TrainArgs:
    """Read the command line; the first word is a preset's name."""
    return tyro.cli(
        TrainArgs,
        prog="v2s train",
        description=TrainArgs.__doc__,
        config=(tyro.conf.CascadeSubcommandArgs,),  # --data and --workdir after the preset's name
    )


def main(generated: Mapping[str, OpenGenerated] = NO_GENERATED) -> None:
    """Train as the command line says; `generated` opens what --data names as `KIND:`."""
    args = parse()
    if args.run.distributed or args.run.coordinator:
        run = args.run
        connect(run.coordinator, run.processes, run.process, run.heartbeat_sec)
    use_device(args.device)
    with _opened(args, generated) as open_split:
        if not args.run.each_category:
            _train(args.config, args, open_split)
            return
        if args.config.training.category is not None:
            raise InputError(
                "--run.each-category trains all of them: leave --training.category out"
            )
        for category in open_split("train").categories:
            training = replace(args.config.training, category=category)
            config = replace(args.config, training=training)
            _train(config, replace(args, workdir=args.workdir / category), open_split)


@contextmanager
def _opened(args: TrainArgs, generated: Mapping[str, OpenGenerated]) -> Iterator[OpenSplit]:
    """Give what opens the splits of --data."""
    kind, colon, words = args.data.partition(":")
    if not colon or kind not in generated:
        yield partial(_open_shards, args)
        return
    run = args.run
    with generated[kind](words, args.config, run.workers, run.keep_mb) as open_split:
        yield open_split


def _open_shards(args: TrainArgs, split: str) -> ClipDataset:
    data = open_dataset(args.data, split, corrupt=args.run.corrupt)
    if data.dropped:
        print(f"{data.dropped} clips of split {split} are left out: their shards are damaged")
    return data


def _train(config: Config, args: TrainArgs, open_split: OpenSplit) -> None:
    """Make one run, or what is left of it; exits when it was asked to end."""
    data = _open(config, open_split, "train")
    config = replace(config, extraction=config.extraction.with_defaults(data.extraction))
    category = config.training.category
    print(f"{len(data)} clips{f' of {category}' if category else ''} from {data.location}")
    print(config.to_json())

    def open_batches(first_batch: int, rows: range) -> Generator[Batch]:
        return batches(data, config, first_batch, rows)

    samples, _ = padded_size(data, config)
    validation, listener = _held_out(config, open_split)
    model, seed = config.model, config.training.seed
    statistics = None
    if model.standardized:
        statistics = feature_statistics(data, seed, model.principal_components, model.standardized)
    finished = train(
        config,
        TrainingData(open_batches, samples, statistics, data.fingerprint),
        args.workdir,
        validation=validation,
        sample_fn=listener,
        profile=args.run.profile,
    )
    _tell(finished, args.workdir)


def _open(config: Config, open_split: OpenSplit, split: str) -> ClipSource:
    data = open_split(split)
    check_fits(data, config)
    category = config.training.category
    return data if category is None else data.of_category(category)


def _held_out(
    config: Config, open_split: OpenSplit
) -> tuple[ValidationSet | None, AudioLogger | None]:
    """Return the clips that the run is scored on, and what sounds some of them."""
    training = config.training
    if not training.eval_every_steps:
        return None, None
    data = _open(config, open_split, training.eval_split)

    def open_held_out(rows: range) -> Iterable[Batch]:
        return held_out_batches(data, config, rows)

    validation = ValidationSet(open_held_out, data.categories)
    if not training.log_audio_clips:
        return validation, None
    first = np.arange(min(training.log_audio_clips, len(data)))
    records = list(data.read(shuffled_indices(training.seed, len(data), first).tolist()))
    return validation, AudioLogger(config, records)


def _tell(finished: TrainResult, workdir: Path) -> None:
    if finished.params_file is None:
        print(
            f"stopped at step {finished.step} (SIGTERM): checkpoint saved in {workdir}; the "
            "same words go on from it",
            file=sys.stderr,
        )
        sys.exit(TERMINATED_CODE)
    ended = "finished before" if finished.nll is None else f"{finished.nll:.4f} nats per sample"
    print(f"step {finished.step}: {ended}")
    print(f"checkpoints and logs: {workdir}; parameters alone: {finished.params_file}")
