"""Linear maps with SampleRNN's weight normalisation and initialisations.

Weight normalisation (Salimans and Kingma 2016) writes a kernel as

    W = V * gain / ||V||      norm over the input axis, one gain per output unit,

with the gain starting at ||V||, so the effective kernel at initialisation is the plain one
(sampleRNN_ICLR2017, lib/ops.py). `fold_weight_norm` computes every W once, for generation.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

GAIN_SUFFIX = "_gain"

HE: Initializer = jax.nn.initializers.he_uniform()
"""He et al. 2015, uniform: input and output maps and hidden layers of the MLP."""
LECUN: Initializer = jax.nn.initializers.lecun_uniform()
"""LeCun et al. 1998, uniform: maps into gates and logits."""
ORTHOGONAL: Initializer = jax.nn.initializers.orthogonal()
"""Saxe et al. 2014: square recurrent maps."""


def _column_norm(kernel: Float[Array, "inputs outputs"]) -> Float[Array, "outputs"]:
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))


def _normalised(
    kernel: Float[Array, "inputs outputs"], gain: Float[Array, "outputs"]
) -> Float[Array, "inputs outputs"]:
    return kernel * (gain / _column_norm(kernel))


def kernel_param(
    module: nn.Module, name: str, shape: tuple[int, int], init: Initializer, weight_norm: bool
) -> Float[Array, "inputs outputs"]:
    """Declare a kernel of `module`, with its gain if wanted, and return the effective kernel."""
    kernel = module.param(name, init, shape)
    if not weight_norm:
        return kernel
    gain = module.param(name + GAIN_SUFFIX, lambda _: _column_norm(kernel))
    return _normalised(kernel, gain)


def fold_weight_norm(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for `weight_norm=False`: each W in the place of its V and gain."""
    folded: dict[str, Any] = {}
    for name, value in params.items():
        if name.endswith(GAIN_SUFFIX):
            continue
        if isinstance(value, Mapping):
            folded[name] = fold_weight_norm(value)
        elif name + GAIN_SUFFIX in params:
            folded[name] = _normalised(value, params[name + GAIN_SUFFIX])
        else:
            folded[name] = value
    return folded


class Linear(nn.Module):
    """A linear map with bias."""

    inputs: int
    outputs: int
    kernel_init: Initializer
    weight_norm: bool
    precision: str

    def setup(self) -> None:
        self.kernel = kernel_param(
            self, "kernel", (self.inputs, self.outputs), self.kernel_init, self.weight_norm
        )
        self.bias = self.param("bias", nn.initializers.zeros, (self.outputs,))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return jnp.matmul(x, self.kernel, precision=self.precision) + self.bias
