"""Linear maps with SampleRNN's weight normalisation and initialisations.

Weight normalisation (Salimans and Kingma 2016) writes a kernel as

    W = V * gain / ||V||      norm over the input axis, one gain per output unit,

with the gain starting at ||V||, so the effective kernel at initialisation is the plain one
(sampleRNN_ICLR2017, lib/ops.py). `fold_weight_norm` computes every W once, for sampling.

Every matrix product of the model is `matmul`, which handles the precisions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int8

GAIN_SUFFIX = "_gain"
SCALE_SUFFIX = "_scale"
"""An int8 kernel is stored with one scale per output (sampling only)."""

BFLOAT16 = "bfloat16"
"""The precision that rounds both factors of every product, in forward and backward pass."""

RADIX_BITS = 7
RADIX = 2**RADIX_BITS
"""With an int8 kernel an activation is written as two digits of this base."""
INT8_INPUT_MAX = 127 * RADIX + RADIX // 2 - 1
"""What the largest activation of a row is scaled to: 15 bits."""

HE_UNIFORM: Initializer = jax.nn.initializers.he_uniform()
"""He et al. 2015, uniform: input and output maps and hidden layers of the MLP."""
RESIDUAL_UNIFORM: Initializer = jax.nn.initializers.variance_scaling(0.5, "fan_in", "uniform")
"""Half of He's spread, for maps whose ReLU is added to their input: five of them raise the variance
by 3, not by 32 (ours)."""
LECUN_UNIFORM: Initializer = jax.nn.initializers.lecun_uniform()
"""LeCun et al. 1998, uniform: maps into gates and logits."""
ORTHOGONAL: Initializer = jax.nn.initializers.orthogonal()
"""Saxe et al. 2014: square recurrent maps."""


class ScaledKernel(NamedTuple):
    """An int8 kernel: kernel = values * scale."""

    values: Int8[Array, "inputs outputs"]
    scale: Float[Array, " outputs"]


def along_last_axis(vector: Float[Array, " width"], x: Array) -> Array:
    """Return `vector` with leading axes of size 1, to broadcast it along the last axis of `x`.

    Explicit, because the tests forbid arrays of different ranks in one operation.
    """
    return jax.lax.expand_dims(vector, range(x.ndim - 1))


def matmul(
    x: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"] | ScaledKernel,
    precision: str,
) -> Float[Array, "*batch outputs"]:
    """Return x times kernel: float32 in, float32 out.

    `precision` is that of JAX ("default" leaves it to the device, "highest" is exact float32), or
    "bfloat16": factors are rounded to bfloat16 and products are summed in float32. A bfloat16
    kernel does the same. With an int8 kernel x is rounded to 15 bits, and the sums are exact.
    """
    if isinstance(kernel, ScaledKernel):
        return _int8_matmul(x, kernel)
    if precision == BFLOAT16 or kernel.dtype == jnp.bfloat16:
        return _bfloat16_matmul(x, kernel)
    return jnp.matmul(x, kernel, precision=precision)


def _int8_matmul(
    x: Float[Array, "*batch inputs"], kernel: ScaledKernel
) -> Float[Array, "*batch outputs"]:
    """Return x times kernel in integers, whose sum is the same in any order.

    x = unit * (128 high + low), high in -127..127, low in -64..63: one product of int8 for both.
    """
    peak = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    whole = jnp.round(x * jnp.where(peak > 0, INT8_INPUT_MAX / peak, 0.0)).astype(jnp.int32)
    high = (whole + RADIX // 2) >> RADIX_BITS
    digits = jnp.concatenate([high, whole - RADIX * high], axis=-2).astype(jnp.int8)
    sums = jnp.matmul(digits, kernel.values, preferred_element_type=jnp.int32)
    high_sum, low_sum = jnp.split(sums.astype(jnp.float32), 2, axis=-2)
    return (RADIX * high_sum + low_sum) * (peak / INT8_INPUT_MAX) * along_last_axis(kernel.scale, x)


@jax.custom_vjp
def _bfloat16_matmul(x: Array, kernel: Array) -> Array:
    return _rounded_matmul(x, kernel)[0]


def _rounded_matmul(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    """Return the product, and as residuals its factors in bfloat16."""
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32), (x, kernel)


def _matmul_gradients(residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    """Return the gradients of the factors in float32.

    JAX's own rule would round each to bfloat16, the dtype of the factor, and with it the sum over
    all ticks.
    """
    x, kernel = residuals
    gradient = gradient.astype(jnp.bfloat16)
    d_x = jnp.matmul(gradient, kernel.T, preferred_element_type=jnp.float32)
    rows, columns = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    return d_x, jnp.matmul(rows.T, columns, preferred_element_type=jnp.float32)


_bfloat16_matmul.defvjp(_rounded_matmul, _matmul_gradients)


def _column_norm(kernel: Float[Array, "inputs outputs"]) -> Float[Array, " outputs"]:
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))


def _apply_gain(
    kernel: Float[Array, "inputs outputs"], gain: Float[Array, " outputs"]
) -> Float[Array, "inputs outputs"]:
    return kernel * along_last_axis(gain / _column_norm(kernel), kernel)


def declare(module: nn.Module, name: str, init: Callable[..., Any], *shape: tuple[int, ...]) -> Any:
    """Declare a parameter of `module`, and return it.

    Of one that exists, Flax would trace `init` to compare shapes, at each use: half the time of
    tracing a small model. Checkpoints are compared once, when they are loaded.
    """
    if module.is_initializing() or not module.has_variable("params", name):
        return module.param(name, init, *shape)
    return module.get_variable("params", name)


def kernel_param(
    module: nn.Module, name: str, shape: tuple[int, int], init: Initializer, weight_norm: bool
) -> Any:
    """Declare a kernel of `module`, and with `weight_norm` its gain; return the effective kernel.

    It is an array, or a ScaledKernel where the parameters hold int8.
    """
    kernel = declare(module, name, init, shape)
    if module.has_variable("params", name + SCALE_SUFFIX):
        return ScaledKernel(kernel, module.get_variable("params", name + SCALE_SUFFIX))
    if not weight_norm:
        return kernel
    gain = declare(module, name + GAIN_SUFFIX, lambda _: _column_norm(kernel))
    return _apply_gain(kernel, gain)


def fold_weight_norm(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for `weight_norm=False`: W instead of V and gain."""
    folded: dict[str, Any] = {}
    for name, value in params.items():
        if name.endswith(GAIN_SUFFIX):
            continue
        if isinstance(value, Mapping):
            folded[name] = fold_weight_norm(value)
        elif name + GAIN_SUFFIX in params:
            folded[name] = _apply_gain(value, params[name + GAIN_SUFFIX])
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
        self.bias = declare(self, "bias", nn.initializers.zeros, (self.outputs,))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return matmul(x, self.kernel, self.precision) + along_last_axis(self.bias, x)
