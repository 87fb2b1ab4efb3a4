"""Linear maps with SampleRNN's weight normalisation and initialisations.

Weight normalisation (Salimans and Kingma 2016) writes a kernel as

    W = V * gain / ||V||      norm over the input axis, one gain per output unit,

with the gain starting at ||V||, so the effective kernel at initialisation is the plain one
(sampleRNN_ICLR2017, lib/ops.py). `fold_weight_norm` computes every W once, for generation.

Every matrix product of the model is `product`, which knows the precisions.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int8

GAIN_SUFFIX = "_gain"
SCALE_SUFFIX = "_scale"
"""A kernel of int8 has a scale for each of its outputs beside it (generation only)."""

BFLOAT16 = "bfloat16"
"""The precision that rounds both factors of every product, in both directions."""

RADIX_BITS = 7
RADIX = 2**RADIX_BITS
"""Base of the two digits that an activation is written in, where the kernel is int8."""
INT8_INPUT_MAX = 127 * RADIX + RADIX // 2 - 1
"""The largest activation of a row in units: 15 bits."""

HE_UNIFORM: Initializer = jax.nn.initializers.he_uniform()
"""He et al. 2015, uniform: input and output maps and hidden layers of the MLP."""
LECUN_UNIFORM: Initializer = jax.nn.initializers.lecun_uniform()
"""LeCun et al. 1998, uniform: maps into gates and logits."""
ORTHOGONAL: Initializer = jax.nn.initializers.orthogonal()
"""Saxe et al. 2014: square recurrent maps."""


class ScaledKernel(NamedTuple):
    """A kernel as integers, and what one of them is worth in each column."""

    values: Int8[Array, "inputs outputs"]
    scale: Float[Array, " outputs"]


def matmul(
    x: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"] | ScaledKernel,
    precision: str,
) -> Float[Array, "*batch outputs"]:
    """Return x times kernel: float32 in, float32 out.

    `precision` is JAX's ("default" leaves it to the device, "highest" is exact float32), or
    "bfloat16": the factors are rounded to it and their products summed in float32, as they are for
    a kernel of bfloat16. For an int8 kernel x is rounded to 15 bits, and the sums are exact.
    """
    if isinstance(kernel, ScaledKernel):
        return _int8_matmul(x, kernel)
    if precision == BFLOAT16 or kernel.dtype == jnp.bfloat16:
        return _bfloat16_matmul(x, kernel)
    return jnp.matmul(x, kernel, precision=precision)


def _int8_matmul(
    x: Float[Array, "*batch inputs"], kernel: ScaledKernel
) -> Float[Array, "*batch outputs"]:
    """Return x times kernel by products of integers, which no order of summing changes.

    x = unit * (128 high + low), high in -127..127, low in -64..63: one product of int8 for both.
    """
    peak = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    whole = jnp.round(x * jnp.where(peak > 0, INT8_INPUT_MAX / peak, 0.0)).astype(jnp.int32)
    high = (whole + RADIX // 2) >> RADIX_BITS
    digits = jnp.concatenate([high, whole - RADIX * high], axis=-2).astype(jnp.int8)
    sums = jnp.matmul(digits, kernel.values, preferred_element_type=jnp.int32)
    of_high, of_low = jnp.split(sums.astype(jnp.float32), 2, axis=-2)
    return (RADIX * of_high + of_low) * (peak / INT8_INPUT_MAX) * kernel.scale


@jax.custom_vjp
def _bfloat16_matmul(x: Array, kernel: Array) -> Array:
    return _rounded_matmul(x, kernel)[0]


def _rounded_matmul(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    """Return the product, and its factors as the way back reads them: at half their size."""
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32), (x, kernel)


def _matmul_gradients(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    """Return the factors' gradients in float32.

    JAX's own rule would round each to its factor's bfloat16, and so the sum over all ticks.
    """
    x, kernel = factors
    gradient = gradient.astype(jnp.bfloat16)
    of_x = jnp.matmul(gradient, kernel.T, preferred_element_type=jnp.float32)
    rows, columns = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    return of_x, jnp.matmul(rows.T, columns, preferred_element_type=jnp.float32)


_bfloat16_matmul.defvjp(_rounded_matmul, _matmul_gradients)


def _column_norm(kernel: Float[Array, "inputs outputs"]) -> Float[Array, " outputs"]:
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))


def _normalised(
    kernel: Float[Array, "inputs outputs"], gain: Float[Array, " outputs"]
) -> Float[Array, "inputs outputs"]:
    return kernel * (gain / _column_norm(kernel))


def kernel_param(
    module: nn.Module, name: str, shape: tuple[int, int], init: Initializer, weight_norm: bool
) -> Any:
    """Declare a kernel of `module`, with its gain if wanted, and return the effective kernel.

    That is an array, or a ScaledKernel where the parameters hold integers.
    """
    kernel = module.param(name, init, shape)
    if module.has_variable("params", name + SCALE_SUFFIX):
        return ScaledKernel(kernel, module.get_variable("params", name + SCALE_SUFFIX))
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
        return matmul(x, self.kernel, self.precision) + self.bias
