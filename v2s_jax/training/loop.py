"""The training loop: resume, update, log, evaluate, save."""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.multihost_utils import (
    broadcast_one_to_all,
    reached_preemption_sync_point,
)
from tqdm import tqdm

from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE, save_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, has_loudness, initial_carry
from v2s_jax.model.loudness import DB_PER_UNIT
from v2s_jax.processes import PreemptionGuard
from v2s_jax.run_folder import UNSCORED
from v2s_jax.training.checkpoint import NOT_FINITE_FOLDER, Checkpoint, Checkpointer
from v2s_jax.training.init_from import warm_start
from v2s_jax.training.learn_loudness import learn_loudness
from v2s_jax.training.metrics import AudioSample, Meter, MetricsLog, Profile
from v2s_jax.training.parallel import DataParallel, all_devices
from v2s_jax.training.state import TrainState, decay_start, init_state
from v2s_jax.training.step import ALL, DeviceBatch, UpdateMetrics, chunks_per_clip, steps_in_call
from v2s_jax.training.validation import EVAL_BITS, ValidationSet, evaluate
from v2s_jax.types import Batch, FeatureStatistics

OpenBatches = Callable[[int, range], Generator[Batch]]
"""Return the endless batches of a run from a batch number on, with the rows of this process."""

SampleFn = Callable[[dict[str, Any]], Iterable[AudioSample]]
"""Generate audio with these parameters."""


class TrainingData(NamedTuple):
    """The clips to train on."""

    open: OpenBatches
    clip_samples: int
    """Length of every clip of the batches."""
    statistics: FeatureStatistics | None
    """Those of the training set; None if the model does not standardise features."""
    fingerprint: str = ""
    """Identifies the data; a run resumes only on the same data."""


class TrainResult(NamedTuple):
    """How a run ended."""

    step: int
    nll: float | None
    """Nats per sample, mean over the last logged updates; None if the run was already finished."""
    params_file: Path | None
    """None if SIGTERM stopped the run before its last update."""


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
    """Train until `config.training.steps`, resuming from the newest checkpoint in `workdir`.

    A run that was interrupted and resumed ends with the same parameters, bit for bit, as one that
    was not (on the same devices). With several processes each makes the same call, and only
    process 0 reads and writes `workdir`. On preemption (SIGTERM) the run saves a checkpoint after
    the current call and returns. `devices` are those of all processes, in the same order in each.

    A run may be resumed with more steps and other intervals, as far as its updates so far would
    have been the same (training/resume.py).

    Raises InputError when `workdir` holds a run with another config or other data, or cannot be
    written; when `init_from` cannot be read or does not fit; and when the loss is not finite.
    """
    # --- Model and devices
    training = config.training
    model = VideoToSound(config, training.precision)
    chunks = chunks_per_clip(config, data.clip_samples)
    num_steps = steps_in_call(config, data.clip_samples)
    check_steps(config, data.clip_samples)
    parallel = DataParallel(model, num_steps, all_devices() if devices is None else devices)
    is_main = jax.process_index() == 0
    best_file, params_file = workdir / BEST_PARAMS_FILE, workdir / PARAMS_FILE

    with ExitStack() as stack:
        # --- Restore or initialize
        checkpointer = (
            stack.enter_context(Checkpointer(workdir, config, data.fingerprint))
            if is_main
            else None
        )
        # With several processes JAX handles SIGTERM, and they agree on a step to stop at.
        guard = stack.enter_context(PreemptionGuard()) if jax.process_count() == 1 else None
        start = _restore_or_init(checkpointer, model, data, guard)
        first_step = step = int(start.state.step)
        best_bits = UNSCORED
        if checkpointer and best_file.exists():
            best_bits = checkpointer.best_bits()
        state = parallel.replicate(start.state)
        carry = parallel.shard(parallel.local_rows(start.carry))

        # --- Data and logs
        batches = stack.enter_context(closing(data.open(step // chunks, parallel.row_range)))
        log = stack.enter_context(MetricsLog(workdir, step)) if is_main else None
        bar = stack.enter_context(
            tqdm(
                initial=step,
                total=training.steps,
                unit="step",
                dynamic_ncols=True,
                disable=not is_main,
            )
        )
        tracer = stack.enter_context(Profile(workdir)) if profile else None
        meter = Meter(config)
        if step:
            bar.write(f"resuming from step {step}")

        while step < training.steps:
            # --- Update: one compiled call
            if step % chunks == 0 or step == first_step:
                batch = next(batches)
                device_batch = to_device(parallel, batch)
            state, carry, metrics = parallel(state, carry, device_batch)
            last_step, step = step, step + num_steps
            if problem := _find_non_finite(metrics, last_step):
                raise _not_finite_error(
                    problem, batch.clip_ids, workdir, config, Checkpoint(state, carry), parallel
                )
            meter.add(metrics, num_steps)
            bar.update(num_steps)
            if tracer:
                tracer.step()

            # --- What is due after this call? Asked once: SIGTERM may arrive at any time. Every
            # process asks after every call, because they agree on a future call to stop at.
            preempted = (
                guard.requested if guard else reached_preemption_sync_point(step // num_steps)
            )
            is_last = step == training.steps or preempted
            do_eval = crosses_interval(last_step, step, training.eval_every_steps)
            do_save = crosses_interval(last_step, step, training.checkpoint_every_steps)
            do_save |= step <= decay_start(training) < step + num_steps  # for a longer run
            do_log = crosses_interval(last_step, step, training.log_every_steps)
            do_eval = do_eval and validation is not None
            scalars: dict[str, float] = {}

            # --- Log
            if is_last or do_eval or do_log:
                scalars |= meter.summarize()
                bits, nats = scalars["bits_per_sample"], scalars["nats_per_sample"]
                speed = scalars["x_real_time"]
                bar.set_postfix_str(f"{bits:.3f} bits, {nats:.3f} nats, {speed:.1f} x real time")

            # --- Evaluate
            if validation and do_eval:
                scalars |= evaluate(parallel, state.eval_params, validation)
                bar.write(f"step {step}: {scalars[EVAL_BITS]:.4f} bits per held-out sample")
                if log:
                    params = jax.tree.map(np.asarray, state.eval_params)
                    for sample in sample_fn(params) if sample_fn else ():
                        log.log_audio(step, sample)
                    if scalars[EVAL_BITS] < best_bits:
                        best_bits = scalars[EVAL_BITS]
                        save_params(best_file, config, params)
            if log and scalars:
                log.write(step, scalars)

            # --- Save
            if is_last or do_eval or do_save:
                host_carry = parallel.gather(carry)
                if checkpointer:
                    host_state = jax.tree.map(np.asarray, state)
                    bits = scalars.get(EVAL_BITS, UNSCORED)
                    checkpointer.save(Checkpoint(host_state, host_carry), bits)
                meter.skip_pause()
            if preempted:
                break

        # --- Finish
        if step < training.steps:
            return TrainResult(step, meter.last_nll, None)
        if is_main:
            save_params(params_file, config, jax.tree.map(np.asarray, state.eval_params))
    return TrainResult(step, meter.last_nll, params_file)


def check_steps(config: Config, clip_samples: int) -> None:
    """Raise InputError unless the run's updates are those of whole calls."""
    steps, in_call = config.training.steps, steps_in_call(config, clip_samples)
    if extra := steps % in_call:
        raise InputError(
            f"steps {steps} is not a multiple of the {in_call} updates of one call: use "
            f"{steps - extra + in_call}, or another --training.steps-per-call"
        )


def to_device(parallel: DataParallel, batch: Batch) -> DeviceBatch:
    """Put the rows of a batch on this process's devices."""
    clip_index = batch.clip_index.astype(np.int32)
    return DeviceBatch(*parallel.shard((batch.levels, batch.features, batch.mask, clip_index)))


def _restore_or_init(
    checkpointer: Checkpointer | None,
    model: VideoToSound,
    data: TrainingData,
    guard: PreemptionGuard | None,
) -> Checkpoint:
    """Return the checkpoint to start from.

    1. Process 0 resumes from the newest intact checkpoint; newer corrupt ones are moved away.
    2. Without a checkpoint, it takes the layers of `init_from` that fit.
    3. Everything else is random, drawn from the seed.
    4. Without a checkpoint, the context encoder learns the loudness.
    5. The other processes receive the result of process 0, or exit when it refuses.
    """
    config = model.config

    def at_clip_start(state: TrainState) -> Checkpoint:
        carry = initial_carry(model, state.params, config.training.batch_clips)
        return jax.tree.map(np.array, Checkpoint(state, carry))

    initial = init_state(model, data.statistics)
    start, problem = at_clip_start(initial), None
    if checkpointer:
        try:
            restored = checkpointer.restore_latest(start)
            if restored:
                start = restored
                for change in checkpointer.changes:
                    tqdm.write(change)
            else:
                start = at_clip_start(_first_state(model, initial, data, guard))
        except InputError as error:
            problem = error
    if broadcast_one_to_all(np.int32(problem is not None)):
        raise problem or InputError("process 0 could not start: see its message")
    return broadcast_one_to_all(start)


def _first_state(
    model: VideoToSound, state: TrainState, data: TrainingData, guard: PreemptionGuard | None
) -> TrainState:
    """Return the state before the first update, with what is learned elsewhere or before it."""
    training = model.config.training
    if training.init_from is not None:
        state, message = warm_start(Path(training.init_from), model.config, state)
        tqdm.write(message)
    if has_loudness(model.config) and training.loudness_steps:
        with closing(data.open(0, range(training.batch_clips))) as batches:
            stopped = (lambda: guard.requested) if guard else (lambda: False)
            state, error = learn_loudness(model, state, batches, stopped)
        error_db = DB_PER_UNIT * math.sqrt(error)
        tqdm.write(f"loudness after {training.loudness_steps} updates: RMS error {error_db:.1f} dB")
    return state


def crosses_interval(before: int, after: int, interval: int) -> bool:
    """Whether a multiple of `interval` is in (before, after]; never for an interval of 0."""
    return bool(interval) and after // interval > before // interval


def _find_non_finite(metrics: UpdateMetrics, last_step: int) -> str | None:
    """Describe the first loss or gradient that is not finite."""
    for name, values in (("loss", metrics.nll), ("gradient", metrics.gradient_norm[ALL])):
        finite = np.isfinite(np.asarray(values))
        if not finite.all():
            step = last_step + 1 + int(np.argmin(finite))
            return f"the {name} is {values[step - last_step - 1]} at step {step}"
    return None


def _not_finite_error(
    problem: str,
    clip_ids: tuple[str, ...],
    workdir: Path,
    config: Config,
    checkpoint: Checkpoint,
    parallel: DataParallel,
) -> InputError:
    """Save the state for inspection, in a folder that no run resumes from; return the error."""
    folder = workdir / NOT_FINITE_FOLDER
    carry = parallel.gather(checkpoint.carry)
    if jax.process_index() == 0:
        with Checkpointer(folder, config) as checkpointer:
            checkpointer.save(Checkpoint(jax.tree.map(np.asarray, checkpoint.state), carry))
    return InputError(
        f"{problem} (clips {', '.join(clip_ids)}): its state is in {folder}; the newest checkpoint "
        "is from before: start again in another --workdir with a lower --training.learning-rate"
    )
