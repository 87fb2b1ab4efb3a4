"""Data-parallel training over local devices. The only file that says pmap.

The state is the same on every device and has no device axis; the batch and the carry are split
by clip and have one, in the order of the clips. N devices equal one to rounding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound
from v2s_jax.training.step import DeviceBatch, TrainState, UpdateMetrics, train_step

AXIS = "device"


class DataParallel:
    """A training step spread over `devices`."""

    def __init__(self, model: VideoToSound, updates: int, devices: Sequence[jax.Device]) -> None:
        self.devices = list(devices)
        self.clips = model.config.training.batch_clips
        if self.clips % len(self.devices):
            raise InputError(
                f"batch_clips {self.clips} cannot be split over {len(self.devices)} devices: "
                f"use a multiple of {len(self.devices)}"
            )
        mesh = Mesh(np.array(self.devices), (AXIS,))
        self._by_clip = NamedSharding(mesh, PartitionSpec(AXIS))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        total = partial(jax.lax.psum, axis_name=AXIS)
        self._step: Callable[..., tuple[TrainState, Carry, UpdateMetrics]] = jax.pmap(
            partial(train_step, model, updates, total=total),
            axis_name=AXIS,
            in_axes=(None, 0, 0),
            out_axes=(None, 0, None),
            devices=self.devices,
            donate_argnums=(0, 1),
        )

    def replicate(self, state: TrainState) -> TrainState:
        """Put a state of host arrays on every device."""
        return jax.device_put(state, self._everywhere)

    def split(self, by_clip: Any) -> Any:
        """Put host arrays with a leading clip axis on the devices, a run of clips on each."""

        def put(x: np.ndarray) -> jax.Array:
            return jax.device_put(x.reshape(len(self.devices), -1, *x.shape[1:]), self._by_clip)

        return jax.tree.map(put, by_clip)

    def gather(self, by_clip: Any) -> Any:
        """Return what `split` took: host arrays in the order of the clips."""
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), by_clip)

    def __call__(
        self, state: TrainState, carry: Carry, batch: DeviceBatch
    ) -> tuple[TrainState, Carry, UpdateMetrics]:
        """Run the step; `state` and `carry` are used up."""
        return self._step(state, carry, batch)
