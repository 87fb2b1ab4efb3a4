"""Data-parallel training over the devices of all processes. The only file that says pmap.

The state is the same on every device and has no device axis; the batch and the carry are split
by clip and have one, in the order of the clips. N devices equal one to rounding, however many
processes hold them: process 0 has the first rows of every batch, the last one the last.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound
from v2s_jax.training.step import DeviceBatch, TrainState, UpdateMetrics, clip_nll, train_step

AXIS = "device"


def all_devices() -> list[jax.Device]:
    """Return the devices of all processes, those of process 0 first."""
    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


class DataParallel:
    """A training step spread over `devices`, which are those of all processes alike.

    Raises InputError when the clips of a batch cannot be split evenly.
    """

    def __init__(self, model: VideoToSound, updates: int, devices: Sequence[jax.Device]) -> None:
        self.devices = list(devices)
        training = model.config.training
        self.clips = training.batch_clips
        parts = len(self.devices) * training.grad_accum_steps
        if self.clips % parts:
            times = f" x {training.grad_accum_steps} micro-batches" * (
                training.grad_accum_steps > 1
            )
            raise InputError(
                f"batch_clips {self.clips} cannot be split over {len(self.devices)} devices"
                f"{times}: use a multiple of {parts}"
            )
        own = [device for device in self.devices if device.process_index == jax.process_index()]
        self.rows = self._rows(own)
        mesh = Mesh(np.array(own), (AXIS,))
        self._by_clip = NamedSharding(mesh, PartitionSpec(AXIS))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._own_devices = len(own)
        total = partial(jax.lax.psum, axis_name=AXIS)
        self._step: Callable[..., tuple[TrainState, Carry, UpdateMetrics]] = jax.pmap(
            partial(train_step, model, updates, total=total),
            axis_name=AXIS,
            in_axes=(None, 0, 0),
            out_axes=(None, 0, None),
            devices=self.devices,
            donate_argnums=(0, 1),
        )
        # No exchange between devices: each process scores the clips that it has read.
        self._nll = jax.pmap(partial(clip_nll, model), in_axes=(None, 0), devices=own)

    def _rows(self, own: Sequence[jax.Device]) -> range:
        """Return the rows of every batch that this process feeds."""
        per_device = self.clips // len(self.devices)
        first = self.devices.index(own[0]) * per_device
        return range(first, first + len(own) * per_device)

    def replicate(self, state: Any) -> Any:
        """Put a state of host arrays, the same in every process, on every device."""
        return jax.device_put(state, self._everywhere)

    def split(self, by_clip: Any) -> Any:
        """Put this process's rows of host arrays on its devices, a run of clips on each."""

        def put(x: np.ndarray) -> jax.Array:
            return jax.device_put(x.reshape(self._own_devices, -1, *x.shape[1:]), self._by_clip)

        return jax.tree.map(put, by_clip)

    def own(self, by_clip: Any) -> Any:
        """Return this process's rows of arrays that hold those of all clips."""
        return jax.tree.map(lambda x: x[self.rows.start : self.rows.stop], by_clip)

    def gather(self, by_clip: Any) -> Any:
        """Return what `split` took, of all processes: host arrays in the order of the clips."""
        return gather_rows(jax.tree.map(_without_device_axis, by_clip))

    def __call__(
        self, state: TrainState, carry: Carry, batch: DeviceBatch
    ) -> tuple[TrainState, Carry, UpdateMetrics]:
        """Run the step; `state` and `carry` are used up."""
        return self._step(state, carry, batch)

    def clip_nll(self, params: dict[str, Any], batch: DeviceBatch) -> Float[np.ndarray, " rows"]:
        """Return the nats of each whole clip of this process's rows."""
        return _without_device_axis(self._nll(params, batch))


def _without_device_axis(x: jax.Array) -> np.ndarray:
    return np.asarray(x).reshape(-1, *x.shape[2:])


# Several processes: each is told the same, or tells the others.


def connect(
    coordinator: str | None, processes: int | None, process: int | None, heartbeat_sec: int
) -> None:
    """Join the processes of a run; must come before anything else that JAX does.

    With no `coordinator` (HOST:PORT of process 0) the machine is asked, as TPU pods can tell.
    A process that is silent for `heartbeat_sec` seconds ends all the others. Raises InputError
    when there is nothing to join, or the others cannot be reached.
    """
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=heartbeat_sec
        )
    except (ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(
            f"the processes of the run cannot be joined ({first_line}): on other machines than a "
            "TPU pod give --run.coordinator HOST:PORT, --run.processes and --run.process"
        ) from error


def is_main_process() -> bool:
    """Say whether this is the process that writes."""
    return jax.process_index() == 0


def is_only_process() -> bool:
    """Say whether there is no other process."""
    return jax.process_count() == 1


def broadcast_from_process_0(tree: Any) -> Any:
    """Return the first process's tree of host arrays in every process."""
    if is_only_process():
        return tree
    return multihost_utils.broadcast_one_to_all(tree)


def gather_rows(tree: Any) -> Any:
    """Return the host arrays of all processes, one process's rows behind another's."""
    if is_only_process():
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def reached_preemption_sync_point(call: int) -> bool:
    """Say whether SIGTERM has come to any of several processes: the same to all, at one call.

    Since `connect` the signal is caught and told to the others. This must be asked after every
    call of the training step, which count up by one: they agree on one that is still to come.
    """
    return bool(multihost_utils.reached_preemption_sync_point(call))
