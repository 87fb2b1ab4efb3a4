"""The training loop as a linear story: open, resume, update, log, save."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.checkpoint import PARAMS_FILE, Checkpoint, Checkpointer, save_params
from v2s_jax.training.loss import BITS_PER_NAT
from v2s_jax.training.metrics import MetricsLog
from v2s_jax.training.parallel import DataParallel
from v2s_jax.training.step import (
    ALL,
    DeviceBatch,
    UpdateMetrics,
    chunks_per_clip,
    init_state,
    updates_in_call,
)
from v2s_jax.training.termination import Termination
from v2s_jax.types import Batch, FeatureStatistics

OpenBatches = Callable[[int], Generator[Batch]]
"""Return the endless batches of a run, from the given one on."""


class Finished(NamedTuple):
    """How a run ended."""

    step: int
    nll: float | None
    """Nats per sample, mean over the last logged updates; None if no update was left to make."""
    params_file: Path | None
    """None if the run was asked to end (SIGTERM) before its last update."""


def train(
    config: Config,
    open_batches: OpenBatches,
    clip_samples: int,
    statistics: FeatureStatistics | None,
    workdir: Path,
    devices: Sequence[jax.Device] | None = None,
) -> Finished:
    """Train until `config.training.steps`, going on from the newest checkpoint in `workdir`.

    `clip_samples` is the length of every clip of the batches, `statistics` are those of the
    training set, and may be None for a model that standardises nothing. Stopped and started again,
    a run ends with the same parameters, bit for bit, as one that never stopped (same devices).

    On SIGTERM the run ends after the compiled call at work, with a checkpoint.

    Raises InputError when the folder holds a run with another config, or the loss is not finite.
    """
    training = config.training
    devices = jax.local_devices() if devices is None else devices
    model = VideoToSound(config, training.precision)
    chunks = chunks_per_clip(config, clip_samples)
    updates = updates_in_call(config, clip_samples)
    if training.steps % updates:
        raise InputError(
            f"steps {training.steps} is not a multiple of the {updates} updates of one call: "
            f"use {training.steps - training.steps % updates + updates}"
        )
    parallel = DataParallel(model, updates, devices)

    state = init_state(model, statistics)
    carry = initial_carry(model, state.params, training.batch_clips)
    first = jax.tree.map(np.array, Checkpoint(state, carry))
    with Checkpointer(workdir, config) as checkpoints, Termination() as termination:
        start = checkpoints.restore_latest(first) or first
        first_step = step = int(start.state.step)
        state, carry = parallel.replicate(start.state), parallel.split(start.carry)
        meter = _Meter(training.batch_clips * training.chunk_samples, config.clock.sample_rate_hz)
        with (
            MetricsLog(workdir, step) as log,
            closing(open_batches(step // chunks)) as batches,
            tqdm(initial=step, total=training.steps, unit="step", dynamic_ncols=True) as bar,
        ):
            if step:
                bar.write(f"going on from step {step}")
            while step < training.steps:
                if step % chunks == 0 or step == first_step:
                    clips, on_devices = _next_batch(batches, parallel)
                state, carry, metrics = parallel(state, carry, on_devices)
                before, step = step, step + updates
                _stop_unless_finite(metrics, before, clips)
                meter.add(metrics, updates)
                bar.update(updates)
                asked = termination.asked  # once: it may turn true at any moment
                done = step == training.steps or asked
                if done or _passed(before, step, training.log_every_steps):
                    scalars = meter.read()
                    bar.set_postfix_str(
                        f"{scalars['bits_per_sample']:.3f} bits, "
                        f"{scalars['nats_per_sample']:.3f} nats, "
                        f"{scalars['x_real_time']:.1f} x real time"
                    )
                    log.write(step, scalars)
                if done or _passed(before, step, training.checkpoint_every_steps):
                    host_state = jax.tree.map(np.asarray, state)
                    checkpoints.save(Checkpoint(host_state, parallel.gather(carry)))
                if asked:
                    break
        if step < training.steps:
            return Finished(step, meter.last_nll, None)
        params_file = workdir / PARAMS_FILE
        save_params(params_file, config, jax.tree.map(np.asarray, state.params))
    return Finished(step, meter.last_nll, params_file)


def _next_batch(batches: Iterator[Batch], parallel: DataParallel) -> tuple[np.ndarray, DeviceBatch]:
    """Put the next clips on the devices; return their indices in the data set beside them."""
    batch = next(batches)
    arrays = parallel.split((batch.levels, batch.features, batch.mask))
    return batch.clip_index, DeviceBatch(*arrays)


def _passed(before: int, after: int, every: int) -> bool:
    """Say whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


def _stop_unless_finite(metrics: UpdateMetrics, before: int, clips: np.ndarray) -> None:
    for name, values in (("loss", metrics.nll), ("gradient", metrics.gradient_norm[ALL])):
        finite = np.isfinite(np.asarray(values))
        if not finite.all():
            step = before + 1 + int(np.argmin(finite))
            raise InputError(
                f"the {name} is {values[step - before - 1]} at step {step} (clips "
                f"{clips.tolist()}): the newest checkpoint is from before; lower "
                "--training.learning-rate"
            )


class _Meter:
    """Means over the updates since the last reading."""

    def __init__(self, samples_per_update: int, sample_rate_hz: int) -> None:
        self._samples_per_update = samples_per_update
        self._sample_rate_hz = sample_rate_hz
        self.last_nll: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._metrics: list[UpdateMetrics] = []
        self._updates = 0
        self._since = time.perf_counter()

    def add(self, metrics: UpdateMetrics, updates: int) -> None:
        self._metrics.append(metrics)
        self._updates += updates

    def read(self) -> dict[str, float]:
        """Return the means as scalars to log, and start anew."""
        metrics = jax.tree.map(lambda *calls: np.concatenate(calls), *self._metrics)
        nll = float(np.sum(metrics.nll * metrics.samples) / max(np.sum(metrics.samples), 1.0))
        samples_per_sec = (
            self._updates * self._samples_per_update / (time.perf_counter() - self._since)
        )
        self._clear()
        self.last_nll = nll
        return {
            "nats_per_sample": nll,
            "bits_per_sample": nll * BITS_PER_NAT,
            **{
                f"gradient_norm/{part}": float(np.mean(norms))
                for part, norms in metrics.gradient_norm.items()
            },
            "samples_per_sec": samples_per_sec,
            "x_real_time": samples_per_sec / self._sample_rate_hz,
        }
