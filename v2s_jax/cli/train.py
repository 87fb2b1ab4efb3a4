"""`v2s train`: train one model, or one per category."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jax
import numpy as np
import tyro

from v2s_jax.bucket import Bucket, url_of
from v2s_jax.cli.device import use_device
from v2s_jax.config import PRESETS, VALIDATION, Config
from v2s_jax.datasets import (
    ClipSource,
    CorruptPolicy,
    batches,
    check_fits,
    feature_statistics,
    held_out_batches,
    open_dataset,
    padded_size,
    shuffled_indices,
    split_validation,
    with_data_sizes,
)
from v2s_jax.datasets.dataset import IN_MEMORY
from v2s_jax.errors import InputError
from v2s_jax.evaluation import AudioLogger
from v2s_jax.io import directory_lock
from v2s_jax.training.bucket_workdir import open_workdir
from v2s_jax.training.budget import parse_duration, within_budget
from v2s_jax.training.checkpoint import check_run
from v2s_jax.training.loop import TrainingData, TrainResult, check_steps, train
from v2s_jax.training.parallel import connect
from v2s_jax.training.validation import ValidationSet

if TYPE_CHECKING:
    Preset = Config
else:
    Preset = tyro.extras.subcommand_type_from_defaults(
        PRESETS, {name: f"the {name} preset" for name in PRESETS}, prefix_names=False
    )
"""A config, chosen by the name of a preset; each of its fields is an option."""

OpenSplit = Callable[[str], ClipSource]
"""Open one split of the data."""

TERMINATED_CODE = 143
"""Exit code after SIGTERM: shells report 128 + 15."""


@dataclass(frozen=True)
class RunOptions:
    """Options that do not change what is computed."""

    each_category: bool = False
    """Train one model per category, one after the other, in WORKDIR/CATEGORY: the paper's ten
    models of a variant. Finished ones are skipped."""
    profile: bool = False
    """Write a profile of five compiled calls to WORKDIR/profile."""
    distributed: bool = False
    """One of several processes on a TPU pod, which finds the others by itself."""
    coordinator: str | None = None
    """On other machines: HOST:PORT of process 0. All processes get the same options, except for
    --run.process."""
    processes: int | None = None
    """Number of processes."""
    process: int | None = None
    """Number of this process, from 0."""
    corrupt: CorruptPolicy = "stop"
    """What to do with corrupt shards: stop, or drop the records from the first corrupt one on. To
    find it, `drop` reads all records at every start."""
    workers: int | None = None
    """Processes that render the clips of --data synthetic:PRESET; default: one per core."""
    keep_mb: int = 2_048
    """Memory for such clips; the others are rendered again in every epoch."""
    heartbeat_sec: int = 60
    """Seconds of silence after which a process counts as lost, and the others exit."""

    def __post_init__(self) -> None:
        cluster = [self.coordinator, self.processes, self.process]
        if any(value is not None for value in cluster) and None in cluster:
            raise InputError(
                "--run.coordinator, --run.processes and --run.process belong together: give all "
                "three, or only --run.distributed on a TPU pod"
            )
        if self.processes is not None and not 0 <= (self.process or 0) < self.processes:
            raise InputError(
                f"--run.process {self.process}: use 0 to {self.processes - 1} for "
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
    """Train a model. Rerun the same command to resume an interrupted run."""

    data: str
    """Folder of a dataset (v2s prepare), its gs:// or s3:// URL, or for synthetic clips rendered in
    memory synthetic:PRESET[,seed=N][,probe=NAME][,CATEGORY=N], the last one for N clips of it."""
    workdir: Path
    """Folder for checkpoints, metrics.jsonl, TensorBoard events and params.safetensors, or its
    gs:// or s3:// URL. With several processes only process 0 needs it."""
    config: Annotated[Preset, tyro.conf.arg(name="")]
    """The preset."""
    run: RunOptions = field(default_factory=RunOptions)
    """Options of the run."""
    budget: str | None = None
    """Time for each model, such as 30m, 2h or 1h30m: chooses the steps, and when the learning rate
    falls, from the measured speed. A longer budget prolongs a run."""
    device: str | None = None
    """Platform: cpu, gpu or tpu; default: the best one available."""

    def __post_init__(self) -> None:
        if self.budget is None:
            return
        parse_duration(self.budget)
        if self.config.training.steps != PRESETS[self.config.name].training.steps:
            raise InputError("--budget chooses the steps: leave out --training.steps")


def main() -> None:
    """Run the command; the first argument is the name of a preset."""
    args = tyro.cli(
        TrainArgs,
        prog="v2s train",
        description=TrainArgs.__doc__,
        config=(tyro.conf.CascadeSubcommandArgs,),  # --data and --workdir after the preset
    )
    run = args.run
    if run.distributed or run.coordinator:
        connect(run.coordinator, run.processes, run.process, run.heartbeat_sec)
    use_device(args.device)
    if (url := url_of(args.workdir)) and jax.process_index() == 0:
        Bucket(url)  # if it is wrong, say so before the data are read
    with _open_data(args) as open_split:
        if not run.each_category:
            _train_one(args.config, args, args.workdir, open_split)
            return
        if args.config.training.category is not None:
            raise InputError(
                "--run.each-category trains all categories: leave out --training.category"
            )
        for category in open_split("train").categories:
            training = replace(args.config.training, category=category)
            config = replace(args.config, training=training)
            _train_one(config, args, args.workdir / category, open_split)


@contextmanager
def _open_data(args: TrainArgs) -> Iterator[OpenSplit]:
    """Yield a function that opens the splits of --data."""
    if not args.data.startswith(IN_MEMORY):
        yield partial(_open_shards, args)
        return
    from v2s_jax.datasets.synthetic.in_memory import open_in_memory

    spec, run = args.data.removeprefix(IN_MEMORY), args.run
    with open_in_memory(spec, args.config, run.workers, run.keep_mb) as open_split:
        yield open_split


def _open_shards(args: TrainArgs, split: str) -> ClipSource:
    data = open_dataset(args.data, split, corrupt=args.run.corrupt)
    if data.dropped:
        print(f"{data.dropped} clips of split {split} are dropped: their shards are corrupt")
    return data


def _train_one(config: Config, args: TrainArgs, location: Path, open_split: OpenSplit) -> None:
    """Train one model, or finish its training; exit on SIGTERM."""
    begin_sec = time.monotonic()
    with open_workdir(location, is_main=jax.process_index() == 0) as workdir:
        result = _train_in(config, args, workdir, open_split, begin_sec)
    _print_summary(result, url_of(location) or location)


def _train_in(
    config: Config, args: TrainArgs, workdir: Path, open_split: OpenSplit, begin_sec: float
) -> TrainResult:
    """Train the model of the run in the local folder `workdir`."""
    config = with_data_sizes(config, open_split("train"))
    train_clips, eval_clips = _open_splits(config, open_split)
    config = replace(config, extraction=config.extraction.with_defaults(train_clips.extraction))
    if jax.process_count() == 1:  # several have to fail together, which `train` sees to
        check_run(workdir, config)
    model, training = config.model, config.training
    samples, _ = padded_size(train_clips, config)
    if args.budget is None:  # which chooses the steps
        check_steps(config, samples)
    elif training.loudness_steps:
        raise InputError("--budget does not count --training.loudness-steps: leave one of them out")
    of_category = f" of {training.category}" if training.category else ""
    print(f"{len(train_clips)} clips{of_category} from {train_clips.location}")
    described = config.extraction.without_ranges()  # which would fill the terminal
    print(replace(config, extraction=described).to_json())
    validation = audio_logger = statistics = None
    if eval_clips is not None:
        print(f"{len(eval_clips)} clips for evaluation in split {training.eval_split}")
        validation = _open_validation(config, eval_clips)
        audio_logger = _open_audio_logger(config, eval_clips)
    if model.standardized:
        statistics = feature_statistics(
            train_clips, training.seed, model.principal_components, model.standardized
        )
    open_batches = partial(batches, train_clips, config)
    data = TrainingData(open_batches, samples, statistics, train_clips.fingerprint)
    # Only process 0 writes. Two runs would delete each other's checkpoints.
    is_main = jax.process_index() == 0
    with directory_lock(workdir, "--workdir") if is_main else nullcontext():
        if args.budget is not None:
            held_out = min(training.eval_clips, len(eval_clips)) if eval_clips is not None else 0
            config = within_budget(args.budget, config, data, workdir, held_out, begin_sec)
        return train(
            config,
            data,
            workdir,
            validation=validation,
            sample_fn=audio_logger,
            profile=args.run.profile,
        )


def _open_splits(config: Config, open_split: OpenSplit) -> tuple[ClipSource, ClipSource | None]:
    """Return the clips to train on, and those to evaluate on unless evaluation is off."""
    training = config.training

    def open_clips(split: str) -> ClipSource:
        data = open_split(split)
        check_fits(data, config)
        return data if training.category is None else data.of_category(training.category)

    train_clips = open_clips("train")
    if not training.eval_every_steps:
        return train_clips, None
    if training.eval_split == VALIDATION:
        return split_validation(train_clips, training)
    return train_clips, open_clips(training.eval_split)


def _open_validation(config: Config, data: ClipSource) -> ValidationSet:
    if config.training.eval_split == VALIDATION:  # all of it, one clip per category included
        config = replace(config, training=replace(config.training, eval_clips=len(data)))
    return ValidationSet(partial(held_out_batches, data, config), data.categories)


def _open_audio_logger(config: Config, data: ClipSource) -> AudioLogger | None:
    training = config.training
    if not training.log_audio_clips:
        return None
    positions = np.arange(min(training.log_audio_clips, len(data)))
    clips = shuffled_indices(training.seed, len(data), positions)
    return AudioLogger(config, list(data.read(clips.tolist())))


def _print_summary(result: TrainResult, workdir: Path | str) -> None:
    if result.params_file is None:
        print(
            f"stopped at step {result.step} (SIGTERM): checkpoint saved in {workdir}; rerun the "
            "same command to resume",
            file=sys.stderr,
        )
        sys.exit(TERMINATED_CODE)
    loss = "already finished" if result.nll is None else f"{result.nll:.4f} nats per sample"
    print(f"step {result.step}: {loss}")
    print(f"checkpoints and logs: {workdir}; parameters: {workdir}/{result.params_file.name}")
