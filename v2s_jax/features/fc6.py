"""fc6 of a stream of pictures: batches of one size, split over the devices of this process."""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float16, UInt8

from v2s_jax.config import Fc6, VggPrecision
from v2s_jax.errors import InputError
from v2s_jax.features.vgg import Architecture, Preprocessing, Vgg, scaled

BATCH_ON_CPU = 8
BATCH = 32
"""Pictures of a batch on each device. VGG's largest activation takes 13 MB a picture in float32."""
ROOM = 2
"""A device gets a copy of the weights if it has room for so many times their size."""

Params = dict[str, dict[str, Array]]


class Fc6Network:
    """A network up to fc6, compiled once and fed with batches of one size."""

    def __init__(
        self,
        architecture: Architecture,
        preprocessing: Preprocessing,
        params: Params,
        fc6: Fc6,
        precision: VggPrecision,
        mesh: Mesh,
        batch: int | None = None,
    ) -> None:
        self.params = params
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        self.batch = (batch or (BATCH_ON_CPU if on_cpu else BATCH)) * mesh.size
        self._split = NamedSharding(mesh, PartitionSpec("picture"))
        network = Vgg(architecture, fc6, jnp.dtype(precision))
        self._apply = jax.jit(partial(_apply, network, preprocessing), out_shardings=self._split)

    def __call__(
        self, pictures: UInt8[np.ndarray, "batch height width channels"]
    ) -> Float[Array, "batch fc6_dim"]:
        """Return fc6 of one batch; what is computed may not be there yet."""
        return self._apply(self.params, jax.device_put(pictures, self._split))

    def stream(
        self, pictures: Iterable[UInt8[np.ndarray, "height width channels"]]
    ) -> Iterator[Float16[np.ndarray, " fc6_dim"]]:
        """Yield the vector of each picture.

        At most two batches are held: one at work on the device, one being read meanwhile.
        """
        remaining = iter(pictures)
        at_work: tuple[Array, int] | None = None
        while True:
            batch = list(itertools.islice(remaining, self.batch))
            if batch:
                whole = np.zeros((self.batch, *batch[0].shape), np.uint8)
                whole[: len(batch)] = batch
                begun = self(whole), len(batch)
            if at_work:
                vectors, count = at_work
                yield from np.asarray(vectors)[:count].astype(np.float16)
            if not batch:
                return
            at_work = begun


def _apply(
    network: Vgg,
    preprocessing: Preprocessing,
    params: Params,
    pictures: UInt8[Array, "batch height width channels"],
) -> Float[Array, "batch fc6_dim"]:
    vectors = network.apply({"params": params}, scaled(pictures, preprocessing))
    return cast(Array, vectors).astype(jnp.float32)


def device_mesh(weights_bytes: int) -> Mesh:
    """Return the devices of this process that have room for a copy of the weights.

    Of CPU devices the first alone, for they share cores and memory. Raises InputError when there
    is no room at all.
    """
    devices = jax.local_devices()
    on_cpu = devices[0].platform == "cpu"
    chosen = devices[:1] if on_cpu else with_room(devices, weights_bytes)
    return Mesh(np.array(chosen), ("picture",))


def with_room(devices: list[jax.Device], weights_bytes: int) -> list[jax.Device]:
    """Return those of the devices that have room; raise InputError when none has."""
    roomy = [device for device in devices if _room(device) >= ROOM * weights_bytes]
    if not roomy:
        raise InputError(
            f"no device has room for weights of {weights_bytes / 1e9:.1f} GB: end what else runs "
            "there, or use --device cpu"
        )
    return roomy


def _room(device: jax.Device) -> float:
    """Return the bytes that are free on a device; infinity where it keeps no count."""
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return float("inf")
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def on_devices(arrays: dict[str, np.ndarray], precision: VggPrecision, mesh: Mesh) -> Params:
    """Put weights on every device, as the tree that the network reads."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    dtype = jnp.dtype(precision)
    placed = {
        tuple(name.split(".")): jax.device_put(array.astype(dtype, copy=False), everywhere)
        for name, array in arrays.items()
    }
    return unflatten_dict(placed)
