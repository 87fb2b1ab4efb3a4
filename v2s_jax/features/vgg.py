"""VGG up to fc6 (Simonyan and Zisserman 2015), for images and for stacks of optical flow.

    stage s: 3 x 3 convolutions with ReLU, then the maximum of 2 x 2 px       5 stages, 224 -> 7 px
    fc6    = [relu] (W x + b),  x the last map [height width channels]  7 x 7 x 512 -> 4096

Weights come from one of two trainings, each with its own preprocessing:

    caffe        BGR - (103.939, 116.779, 123.68)                      flow byte - 128
    torchvision  (RGB / 255 - (0.485, 0.456, 0.406))                   (flow byte / 255 - 0.5)
                 / (0.229, 0.224, 0.225)                               / 0.226

That of flow is from Wang et al. 2015 (Caffe) and from the TSN code for torch.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float16, UInt8

from v2s_jax.config import Fc6, VggPrecision

Preprocessing = Literal["caffe", "torchvision"]

RGB = 3
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
TORCHVISION_MEAN = (0.485, 0.456, 0.406)
TORCHVISION_STD = (0.229, 0.224, 0.225)
FLOW_MEAN_BYTE = 128.0
FLOW_MEAN = 0.5
FLOW_STD = 0.226  # the mean of TORCHVISION_STD
BYTE = 255.0

BATCH_ON_CPU = 8
BATCH = 32
"""Images per batch and device. VGG's largest activation takes 13 MB per image in float32."""

Params = dict[str, dict[str, Array]]


class Architecture(NamedTuple):
    """The layers of a VGG network."""

    name: str
    convolutions: tuple[int, ...]
    """Number in each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels of each stage."""
    fc6_dim: int = 4_096
    input_px: int = 224
    """Height and width of the input."""

    @property
    def map_px(self) -> int:
        """Height and width of the last map."""
        return self.input_px >> len(self.convolutions)

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every kernel, for an input of `channels`.

        Convolutions are [height width in out], fc6 is [in out].
        """
        kernels: dict[str, tuple[int, ...]] = {}
        for stage, (count, width) in enumerate(zip(self.convolutions, self.widths, strict=True), 1):
            for number in range(1, count + 1):
                kernels[f"conv{stage}_{number}"] = (3, 3, channels, width)
                channels = width
        kernels["fc6"] = (self.map_px**2 * channels, self.fc6_dim)
        return kernels

    def flops(self, channels: int) -> int:
        """Return the floating-point operations per image; a multiply-add counts as two."""
        total = 0
        for name, kernel in self.shapes(channels).items():
            px = 1 if name == "fc6" else self.input_px >> (int(name[4]) - 1)
            total += 2 * math.prod(kernel) * px**2
        return total


VGG16 = Architecture("VGG16", (2, 2, 3, 3, 3))
VGG19 = Architecture("VGG19", (2, 2, 4, 4, 4))
FC6_DIM = VGG19.fc6_dim
INPUT_PX = VGG19.input_px


class Vgg(nn.Module):
    """The network on preprocessed input."""

    architecture: Architecture
    fc6: Fc6
    dtype: Any
    """Precision of the matrix products."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch fc6_dim"]:
        """Return fc6 of each image."""
        # Full float32 also where the default is less precise and faster, as on TPUs.
        exact = {"dtype": self.dtype, "precision": jax.lax.Precision.HIGHEST}
        net, maps = self.architecture, images
        for stage, (count, width) in enumerate(zip(net.convolutions, net.widths, strict=True), 1):
            for number in range(1, count + 1):
                name = f"conv{stage}_{number}"
                maps = nn.relu(nn.Conv(width, (3, 3), padding=1, name=name, **exact)(maps))
            maps = nn.max_pool(maps, (2, 2), (2, 2))
        vector = nn.Dense(net.fc6_dim, name="fc6", **exact)(maps.reshape(maps.shape[0], -1))
        return nn.relu(vector) if self.fc6 == "after_relu" else vector


def preprocess(
    images: UInt8[Array, "batch height width channels"], preprocessing: Preprocessing
) -> Float[Array, "batch height width channels"]:
    """Scale RGB images, or stacks of flow bytes, as in the training of the weights."""
    values = images.astype(jnp.float32)
    is_flow = images.shape[-1] != RGB
    if preprocessing == "caffe":
        return values - FLOW_MEAN_BYTE if is_flow else values[..., ::-1] - _row(CAFFE_MEAN_BGR)
    if is_flow:
        return (values / BYTE - FLOW_MEAN) / FLOW_STD
    return (values / BYTE - _row(TORCHVISION_MEAN)) / _row(TORCHVISION_STD)


def _row(channels: tuple[float, ...]) -> Float[Array, "1 1 1 channels"]:
    return jnp.array(channels)[None, None, None]


class Fc6Network:
    """Runs a network on batches of one size, split over the devices of this process."""

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
        self._split = NamedSharding(mesh, PartitionSpec("image"))
        network = Vgg(architecture, fc6, jnp.dtype(precision))

        def apply(
            params: Params, images: UInt8[Array, "batch height width channels"]
        ) -> Float[Array, "batch fc6_dim"]:
            vectors = network.apply({"params": params}, preprocess(images, preprocessing))
            return cast(Array, vectors).astype(jnp.float32)

        self._apply = jax.jit(apply, out_shardings=self._split)

    def __call__(
        self, images: UInt8[np.ndarray, "batch height width channels"]
    ) -> Float[Array, "batch fc6_dim"]:
        """Return fc6 of one batch, as JAX does: the computation may still run."""
        return self._apply(self.params, jax.device_put(images, self._split))

    def stream(
        self, images: Iterable[UInt8[np.ndarray, "height width channels"]]
    ) -> Iterator[Float16[np.ndarray, " fc6_dim"]]:
        """Yield fc6 of each image.

        Holds two batches: the device computes one while the next one is read.
        """
        remaining = iter(images)
        running: tuple[Array, int] | None = None
        while True:
            batch = list(itertools.islice(remaining, self.batch))
            if batch:
                padded = np.zeros((self.batch, *batch[0].shape), np.uint8)
                padded[: len(batch)] = batch
                started = self(padded), len(batch)
            if running:
                vectors, count = running
                yield from np.asarray(vectors)[:count].astype(np.float16)
            if not batch:
                return
            running = started


def device_mesh() -> Mesh:
    """Return the devices of this process; of CPU devices, which share cores, only the first."""
    devices = jax.local_devices()
    used = devices[:1] if devices[0].platform == "cpu" else devices
    return Mesh(np.array(used), ("image",))


def on_devices(arrays: dict[str, np.ndarray], precision: VggPrecision, mesh: Mesh) -> Params:
    """Copy weights to every device, as the parameter tree of the network."""
    replicated = NamedSharding(mesh, PartitionSpec())
    dtype = jnp.dtype(precision)
    placed = {
        tuple(name.split(".")): jax.device_put(array.astype(dtype, copy=False), replicated)
        for name, array in arrays.items()
    }
    return unflatten_dict(placed)
