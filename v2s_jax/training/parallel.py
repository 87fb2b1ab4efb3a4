"""Data-parallel training over the devices of all processes. The only module that uses pmap.

The state is the same on every device and has no device axis. Batch and carry are sharded by clip
and have one. Results do not depend on the number of devices or processes, up to rounding: process 0
has the first rows of every batch, the last process the last.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from v2s_jax.config import TrainingConfig
from v2s_jax.errors import InputError, reason
from v2s_jax.model import Carry, VideoToSound
from v2s_jax.training.step import DeviceBatch, TrainState, UpdateMetrics, clip_nll, train_step

AXIS = "device"


def all_devices() -> list[jax.Device]:
    """Return the devices of all processes, those of process 0 first."""
    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def rows_of_process(training: TrainingConfig, devices: Sequence[jax.Device]) -> range:
    """Return the rows of every batch that this process reads; the devices are those of all.

    Raises InputError when the clips of a batch cannot be divided evenly.
    """
    batch_clips, micro_batches = training.batch_clips, training.grad_accum_steps
    parts = len(devices) * micro_batches
    if batch_clips % parts:
        times = f" x {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise InputError(
            f"batch_clips {batch_clips} cannot be split over {len(devices)} devices{times}: use a "
            f"multiple of {parts}"
        )
    own = [place for place, device in enumerate(devices) if is_local(device)]
    per_device = batch_clips // len(devices)
    return range(own[0] * per_device, (own[-1] + 1) * per_device)


def is_local(device: jax.Device) -> bool:
    """Say whether a device belongs to this process."""
    return device.process_index == jax.process_index()


class DataParallel:
    """The training step on `devices`, which every process lists in the same order.

    Raises InputError when the clips of a batch cannot be divided evenly.
    """

    def __init__(self, model: VideoToSound, num_steps: int, devices: Sequence[jax.Device]) -> None:
        self.devices = list(devices)
        self.batch_clips = model.config.training.batch_clips
        self.row_range = rows_of_process(model.config.training, self.devices)
        """The rows of every batch that this process reads."""
        local = [device for device in self.devices if is_local(device)]
        mesh = Mesh(np.array(local), (AXIS,))
        self._by_clip = NamedSharding(mesh, PartitionSpec(AXIS))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._local_devices = len(local)
        all_reduce_sum = partial(jax.lax.psum, axis_name=AXIS)
        self._step: Callable[..., tuple[TrainState, Carry, UpdateMetrics]] = jax.pmap(
            partial(train_step, model, num_steps, all_reduce_sum=all_reduce_sum),
            axis_name=AXIS,
            in_axes=(None, 0, 0),
            out_axes=(None, 0, None),
            devices=self.devices,
            donate_argnums=(0, 1),
        )
        # Without communication: each process evaluates the clips that it has read.
        self._nll = jax.pmap(partial(clip_nll, model), in_axes=(None, 0), devices=local)

    def replicate(self, state: Any) -> Any:
        """Put host arrays that are the same in every process on every device."""
        return jax.device_put(state, self._replicated)

    def shard(self, by_clip: Any) -> Any:
        """Put this process's rows of host arrays on its devices, consecutive clips on each."""

        def put(x: np.ndarray) -> jax.Array:
            return jax.device_put(x.reshape(self._local_devices, -1, *x.shape[1:]), self._by_clip)

        return jax.tree.map(put, by_clip)

    def local_rows(self, by_clip: Any) -> Any:
        """Return this process's rows of host arrays of the whole batch."""
        return jax.tree.map(lambda x: x[self.row_range.start : self.row_range.stop], by_clip)

    def gather(self, by_clip: Any) -> Any:
        """Return sharded arrays of all processes as host arrays, in the order of the clips."""
        rows = jax.tree.map(_without_device_axis, by_clip)
        return multihost_utils.process_allgather(rows, tiled=True)

    def __call__(
        self, state: TrainState, carry: Carry, batch: DeviceBatch
    ) -> tuple[TrainState, Carry, UpdateMetrics]:
        """Run the step; `state` and `carry` are donated."""
        return self._step(state, carry, batch)

    def clip_nll(self, params: dict[str, Any], batch: DeviceBatch) -> Float[np.ndarray, " rows"]:
        """Return the NLL of each whole clip of this process's rows (nats)."""
        return _without_device_axis(self._nll(params, batch))


def _without_device_axis(x: jax.Array) -> np.ndarray:
    return np.asarray(x).reshape(-1, *x.shape[2:])


def connect(
    coordinator: str | None, processes: int | None, process: int | None, heartbeat_sec: int
) -> None:
    """Join the processes of a run; must be called before anything else in JAX.

    Without `coordinator` (HOST:PORT of process 0) JAX asks the machine, which works on TPU pods.
    When a process is silent for `heartbeat_sec` seconds, all others exit. Raises InputError when
    the other processes cannot be reached.
    """
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=heartbeat_sec
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes of the run cannot be joined ({reason(error)}): on machines other "
            "than a TPU pod give --run.coordinator HOST:PORT, --run.processes and --run.process"
        ) from error
