"""`DataParallel` on `jax.shard_map`: global arrays instead of a device axis.

For the day when pmap goes; the tests of one process run with both. To use it, loop.py imports

    from v2s_jax.training.parallel_shard_map import ShardMapDataParallel as DataParallel
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from v2s_jax.model import VideoToSound
from v2s_jax.training.parallel import AXIS, DataParallel, is_local, rows_of_process
from v2s_jax.training.step import DeviceBatch, clip_nll, train_step

ALL = PartitionSpec()
BY_CLIP = PartitionSpec(AXIS)


class ShardMapDataParallel(DataParallel):
    """The same step on global arrays."""

    def __init__(self, model: VideoToSound, num_steps: int, devices: Sequence[jax.Device]) -> None:
        self.devices = list(devices)
        self.batch_clips = model.config.training.batch_clips
        self.row_range = rows_of_process(model.config.training, self.devices)
        local = [device for device in self.devices if is_local(device)]
        mesh, local_mesh = (Mesh(np.array(group), (AXIS,)) for group in (self.devices, local))
        self._by_clip = NamedSharding(mesh, BY_CLIP)
        self._replicated = NamedSharding(mesh, ALL)
        self._local = NamedSharding(local_mesh, ALL)
        self._local_by_clip = NamedSharding(local_mesh, BY_CLIP)
        run = partial(
            train_step, model, num_steps, all_reduce_sum=partial(jax.lax.psum, axis_name=AXIS)
        )
        self._step = jax.jit(
            jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(ALL, BY_CLIP, BY_CLIP),
                out_specs=(ALL, BY_CLIP, ALL),
                check_vma=False,  # the custom backward pass of the tiers is written for pmap, too
            ),
            donate_argnums=(0, 1),
        )
        # Without communication: each process evaluates the clips that it has read.
        self._nll = jax.jit(
            jax.shard_map(
                partial(clip_nll, model),
                mesh=local_mesh,
                in_specs=(ALL, BY_CLIP),
                out_specs=BY_CLIP,
                check_vma=False,
            )
        )

    def lower(self, state: Any, carry: Any, batch: Any) -> jax.stages.Lowered:
        """Lower the step for shapes of whole batches, also for devices that are not there."""

        def place(shapes: Any, sharding: NamedSharding) -> Any:
            return jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
            )

        by_clip = place((carry, batch), self._by_clip)
        step: Any = self._step
        lowered: jax.stages.Lowered = step.lower(place(state, self._replicated), *by_clip)
        return lowered

    def shard(self, by_clip: Any) -> Any:
        """Put this process's rows of host arrays on its devices, consecutive clips on each."""
        return jax.tree.map(partial(jax.make_array_from_process_local_data, self._by_clip), by_clip)

    def gather(self, by_clip: Any) -> Any:
        """Return sharded arrays of all processes as host arrays, in the order of the clips."""
        return multihost_utils.process_allgather(by_clip, tiled=True)

    def clip_nll(self, params: dict[str, Any], batch: DeviceBatch) -> Float[np.ndarray, " rows"]:
        """Return the NLL of each whole clip of this process's rows (nats)."""
        params = jax.device_put(jax.tree.map(np.asarray, params), self._local)
        rows = jax.tree.map(_local_rows, batch)
        return np.asarray(self._nll(params, jax.device_put(rows, self._local_by_clip)))


def _local_rows(x: jax.Array) -> np.ndarray:
    shards = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])
