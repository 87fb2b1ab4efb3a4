"""Multiplications: how many a program makes, and how many the device can make in a second."""

import time
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from v2s_jax.kernels.packing import WeightFormat, quantise
from v2s_jax.model import ScaledKernel, matmul

FLOP_PER_MULTIPLY_ADD = 2
SIDES = {"cpu": (1_024, 2_048), "gpu": (4_096, 8_192), "tpu": (4_096, 8_192)}
"""Square matrices, by platform, of which the fastest product is taken as what can be had."""
TIMED_CALLS = 8


def product_flop(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the floating-point operations of all matrix products of a call, from its trace.

    A loop counts as often as it runs, of a condition the dearest branch; nothing is computed, so
    the arguments may be shapes. Raises ValueError for products in a loop of unknown length.
    """
    return _flop(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flop(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = prod(shape[axis] for axis in contracted)
            total += FLOP_PER_MULTIPLY_ADD * depth * equation.outvars[0].aval.size
        inner = [
            _flop(getattr(value, "jaxpr", value))
            for param in params.values()
            for value in (param if isinstance(param, tuple | list) else [param])
            if hasattr(getattr(value, "jaxpr", value), "eqns")
        ]
        if name == "while" and any(inner):
            raise ValueError("matrix products in a loop whose length is not known")
        total += params.get("length", 1) * (max(inner) if name == "cond" else sum(inner))
    return total


def peak_flop_per_sec(precision: str, weights: WeightFormat = "float32") -> float:
    """Return the operations a second of the fastest square product in this precision, measured.

    On one device, with one factor in the format of `weights`; digits that a product of int8 works
    in count once. It is what the library's own product reaches here and now, not a data sheet's
    figure, and other work on the machine lowers it.
    """
    sides = SIDES[jax.devices()[0].platform]
    return max(_flop_per_sec(side, precision, weights) for side in sides)


def _flop_per_sec(side: int, precision: str, weights: WeightFormat) -> float:
    x = jnp.ones((side, side), jnp.float32) / side
    factor = ScaledKernel(*quantise(x)) if weights == "int8" else x.astype(weights)
    multiply = jax.jit(lambda x, factor: matmul(x, factor, precision))
    return FLOP_PER_MULTIPLY_ADD * side**3 / least_seconds(multiply, x, factor)


def least_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the time of the fastest of some calls of a compiled function, the first left out."""
    jax.block_until_ready(function(*arguments))
    fastest = float("inf")
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
