"""The training loop as a linear story: open, resume, update, log, evaluate, save."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE, save_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.checkpoint import NOT_FINITE, UNSCORED, Checkpoint, Checkpointer
from v2s_jax.training.init_from import warm_start
from v2s_jax.training.meter import Meter
from v2s_jax.training.metrics import AudioSample, MetricsLog
from v2s_jax.training.parallel import (
    DataParallel,
    all_devices,
    broadcast_from_process_0,
    is_main_process,
    is_only_process,
    reached_preemption_sync_point,
)
from v2s_jax.training.preemption import PreemptionGuard
from v2s_jax.training.profile import Profile
from v2s_jax.training.state import TrainState, init_state
from v2s_jax.training.step import ALL, DeviceBatch, UpdateMetrics, chunks_per_clip, updates_in_call
from v2s_jax.training.validation import EVAL_BITS, ValidationSet, evaluate
from v2s_jax.types import Batch, FeatureStatistics

OpenBatches = Callable[[int, range], Generator[Batch]]
"""Return the endless batches of a run, from the given one on: the rows that this process feeds."""

SampleFn = Callable[[dict[str, Any]], Iterable[AudioSample]]
"""Return what parameters sound like."""


class TrainingData(NamedTuple):
    """The clips that are trained on."""

    open: OpenBatches
    clip_samples: int
    """Length of every clip of the batches."""
    statistics: FeatureStatistics | None
    """Those of the training set; None for a model that standardises nothing."""
    fingerprint: str = ""
    """What tells these data from others; a run goes on with the same only."""


class TrainResult(NamedTuple):
    """How a run ended."""

    step: int
    nll: float | None
    """Nats per sample, mean over the last logged updates; None if no update was left to make."""
    params_file: Path | None
    """None if the run was asked to end (SIGTERM) before its last update."""


def train(
    config: Config,
    data: TrainingData,
    workdir: Path,
    devices: Sequence[jax.Device] | None = None,
    *,
    validation: ValidationSet | None = None,
    sample_fn: SampleFn | None = None,
    profile: bool = False,
) -> TrainResult:
    """Train until `config.training.steps`, going on from the newest checkpoint in `workdir`.

    Without one, a run begins with parameters drawn from the seed, or with those of
    `config.training.begin_from`, as far as they fit. Stopped and started again, a run ends with the
    same parameters, bit for bit, as one that never stopped (same devices). With several processes
    each calls this alike, and the first alone reads and writes `workdir`. After every
    `eval_every_steps` updates it is scored on `held_out` and heard with `listen`.

    On SIGTERM the run ends after the compiled call at work, with a checkpoint.

    Raises InputError when the folder holds a run with another config or other data, when it
    cannot be written, when what it is to begin from cannot be read or does not fit, or
    when the loss is not finite.
    """
    training = config.training
    model = VideoToSound(config, training.precision)
    chunks = chunks_per_clip(config, data.clip_samples)
    updates = updates_in_call(config, data.clip_samples)
    if training.steps % updates:
        raise InputError(
            f"steps {training.steps} is not a multiple of the {updates} updates of one call: "
            f"use {training.steps - training.steps % updates + updates}"
        )
    parallel = DataParallel(model, updates, all_devices() if devices is None else devices)
    writes = is_main_process()

    def at_a_clip_s_start(state: TrainState) -> Checkpoint:
        carry = initial_carry(model, state.params, training.batch_clips)
        return jax.tree.map(np.array, Checkpoint(state, carry))

    first = at_a_clip_s_start(init_state(model, data.statistics))

    def begin() -> Checkpoint:
        if training.init_from is None:
            return first
        beginning, words = warm_start(Path(training.init_from), config, first.state)
        tqdm.write(words)
        return at_a_clip_s_start(beginning)

    with ExitStack() as stack:
        enter = stack.enter_context
        checkpoints = enter(Checkpointer(workdir, config, data.fingerprint)) if writes else None
        # Several processes have a handler already, with which they agree on a step.
        termination = enter(PreemptionGuard()) if is_only_process() else None
        start = _restore_or_init(checkpoints, first, begin)
        first_step = step = int(start.state.step)
        best_bits = checkpoints.best_bits() if checkpoints else UNSCORED
        state = parallel.replicate(start.state)
        carry = parallel.split(parallel.own(start.carry))
        log = enter(MetricsLog(workdir, step)) if writes else None
        batches = enter(closing(data.open(step // chunks, parallel.rows)))
        bar = enter(
            tqdm(
                initial=step,
                total=training.steps,
                unit="step",
                dynamic_ncols=True,
                disable=not writes,
            )
        )
        trace = enter(Profile(workdir)) if profile else None
        meter = Meter(config)
        if step:
            bar.write(f"going on from step {step}")
        while step < training.steps:
            if step % chunks == 0 or step == first_step:
                clips, on_devices = _next_batch(batches, parallel)
            state, carry, metrics = parallel(state, carry, on_devices)
            before, step = step, step + updates
            problem = _not_finite(metrics, before)
            if problem:
                inspected = _dump_state(workdir, config, Checkpoint(state, carry), parallel)
                raise InputError(
                    f"{problem} (clips {', '.join(clips)}): its state lies in {inspected}; the "
                    "newest checkpoint is from before; begin again in another --workdir with a "
                    "lower --training.learning-rate"
                )
            meter.add(metrics, updates)
            bar.update(updates)
            if trace:
                trace.called()
            # Asked once, for the answer may change at any moment.
            requested = (
                termination.requested
                if termination
                else reached_preemption_sync_point(step // updates)
            )
            done = step == training.steps or requested
            evaluates = validation and _crosses_interval(before, step, training.eval_every_steps)
            scalars: dict[str, float] = {}
            if done or evaluates or _crosses_interval(before, step, training.log_every_steps):
                scalars |= meter.read()
                bar.set_postfix_str(
                    f"{scalars['bits_per_sample']:.3f} bits, "
                    f"{scalars['nats_per_sample']:.3f} nats, "
                    f"{scalars['x_real_time']:.1f} x real time"
                )
            if validation and evaluates:
                scalars |= evaluate(parallel, state.result, validation)
                bar.write(f"step {step}: {scalars[EVAL_BITS]:.4f} bits per held-out sample")
                if log:
                    result = jax.tree.map(np.asarray, state.result)
                    for heard in sample_fn(result) if sample_fn else ():
                        log.log_audio(step, heard)
                    if scalars[EVAL_BITS] < best_bits:
                        best_bits = scalars[EVAL_BITS]
                        save_params(workdir / BEST_PARAMS_FILE, config, result)
            if log and scalars:
                log.write(step, scalars)
            if (
                done
                or evaluates
                or _crosses_interval(before, step, training.checkpoint_every_steps)
            ):
                host_state = jax.tree.map(np.asarray, state), parallel.gather(carry)
                if checkpoints:
                    bits = scalars.get(EVAL_BITS, UNSCORED)
                    checkpoints.save(Checkpoint(*host_state), bits)
                meter.skip()
            if requested:
                break
        if step < training.steps:
            return TrainResult(step, meter.last_nll, None)
        if writes:
            result = jax.tree.map(np.asarray, state.result)
            save_params(workdir / PARAMS_FILE, config, result)
    return TrainResult(step, meter.last_nll, workdir / PARAMS_FILE)


def _restore_or_init(
    checkpoints: Checkpointer | None, first: Checkpoint, begin: Callable[[], Checkpoint]
) -> Checkpoint:
    """Return what the run goes on from; all processes get what the first one reads or begins."""
    start, problem = first, None
    if checkpoints:
        try:
            start = checkpoints.restore_latest(first) or begin()
        except InputError as error:
            problem = error
    if broadcast_from_process_0(np.int32(problem is not None)):
        raise problem or InputError("the first process could not begin: its own message says why")
    return broadcast_from_process_0(start)


def _next_batch(
    batches: Iterator[Batch], parallel: DataParallel
) -> tuple[tuple[str, ...], DeviceBatch]:
    """Put the next clips on the devices; return their names beside them."""
    batch = next(batches)
    arrays = parallel.split((batch.levels, batch.features, batch.mask))
    return batch.clip_ids, DeviceBatch(*arrays)


def _crosses_interval(before: int, after: int, every: int) -> bool:
    """Say whether a multiple of `every` lies in (before, after]; 0 has none."""
    return bool(every) and after // every > before // every


def _not_finite(metrics: UpdateMetrics, before: int) -> str | None:
    """Return what is not finite, and since which step."""
    for name, values in (("loss", metrics.nll), ("gradient", metrics.gradient_norm[ALL])):
        finite = np.isfinite(np.asarray(values))
        if not finite.all():
            step = before + 1 + int(np.argmin(finite))
            return f"the {name} is {values[step - before - 1]} at step {step}"
    return None


def _dump_state(workdir: Path, config: Config, found: Checkpoint, parallel: DataParallel) -> Path:
    """Write a state that is not finite where no run goes on from it; return the folder."""
    folder = workdir / NOT_FINITE
    carry = parallel.gather(found.carry)
    if is_main_process():
        with Checkpointer(folder, config) as inspected:
            inspected.save(Checkpoint(jax.tree.map(np.asarray, found.state), carry))
    return folder
