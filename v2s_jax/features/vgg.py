"""VGG up to fc6 (Simonyan and Zisserman 2015): pictures, or stacks of optical flow, to vectors.

    stage s: 3 x 3 convolutions with ReLU, then the maximum of 2 x 2 px       5 stages, 224 -> 7 px
    fc6    = [relu] (W x + b),  x the last map row by row, channels innermost  7 x 7 x 512 -> 4096

Weights come from two trainings, each of which wants its own scale of what goes in:

    caffe        BGR - (103.939, 116.779, 123.68)                      flow byte - 128
    torchvision  (RGB / 255 - (0.485, 0.456, 0.406))                   (flow byte / 255 - 0.5)
                 / (0.229, 0.224, 0.225)                               / 0.226

The flow's are those of Wang et al. 2015 (Caffe) and of the TSN code for torch.
"""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from v2s_jax.config import Fc6

Preprocessing = Literal["caffe", "torchvision"]

RGB = 3
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
TORCHVISION_MEAN = (0.485, 0.456, 0.406)
TORCHVISION_STD = (0.229, 0.224, 0.225)
FLOW_MEAN_BYTE = 128.0
FLOW_MEAN = 0.5
FLOW_STD = 0.226  # the mean of the three above
BYTE = 255.0


class Architecture(NamedTuple):
    """The sizes of one of the networks."""

    name: str
    convolutions: tuple[int, ...]
    """How many, in each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Channels of each stage."""
    fc6_dim: int = 4_096
    picture_px: int = 224
    """Height and width of what goes in."""

    @property
    def map_px(self) -> int:
        """Height and width of the last map."""
        return self.picture_px >> len(self.convolutions)

    def shapes(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every layer's kernel, for pictures of so many channels.

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
        """Return the floating-point operations of one picture, a multiply-add counted as two."""
        total = 0
        for name, kernel in self.shapes(channels).items():
            size = 1
            for side in kernel:
                size *= side
            px = 1 if name == "fc6" else self.picture_px >> (int(name[4]) - 1)
            total += 2 * size * px**2
        return total


VGG16 = Architecture("VGG16", (2, 2, 3, 3, 3))
VGG19 = Architecture("VGG19", (2, 2, 4, 4, 4))
FC6_DIM = VGG19.fc6_dim
PICTURE_PX = VGG19.picture_px


class Vgg(nn.Module):
    """The network on values that are scaled already."""

    architecture: Architecture
    fc6: Fc6
    dtype: Any
    """What products are computed in."""

    @nn.compact
    def __call__(
        self, pictures: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch fc6_dim"]:
        """Return fc6 of each picture."""
        # Exact float32 also where the default is a faster, coarser product.
        exact = {"dtype": self.dtype, "precision": jax.lax.Precision.HIGHEST}
        net, seen = self.architecture, pictures
        for stage, (count, width) in enumerate(zip(net.convolutions, net.widths, strict=True), 1):
            for number in range(1, count + 1):
                name = f"conv{stage}_{number}"
                seen = nn.relu(nn.Conv(width, (3, 3), padding=1, name=name, **exact)(seen))
            seen = nn.max_pool(seen, (2, 2), (2, 2))
        vector = nn.Dense(net.fc6_dim, name="fc6", **exact)(seen.reshape(seen.shape[0], -1))
        return nn.relu(vector) if self.fc6 == "after_relu" else vector


def scaled(
    pictures: UInt8[Array, "batch height width channels"], preprocessing: Preprocessing
) -> Float[Array, "batch height width channels"]:
    """Return RGB pictures, or stacks of flow bytes, as a training of the network had them."""
    values = pictures.astype(jnp.float32)
    is_flow = pictures.shape[-1] != RGB
    if preprocessing == "caffe":
        return values - FLOW_MEAN_BYTE if is_flow else values[..., ::-1] - jnp.array(CAFFE_MEAN_BGR)
    mean, std = (FLOW_MEAN, FLOW_STD) if is_flow else (TORCHVISION_MEAN, TORCHVISION_STD)
    return (values / BYTE - jnp.array(mean)) / jnp.array(std)
