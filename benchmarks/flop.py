"""Count the floating-point operations of a program's matrix products."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax

FLOP_PER_MULTIPLY_ADD = 2


def count_matmul_flop(function: Callable[..., Any], *arguments: Any) -> int:
    """Count the floating-point operations of all matrix products of a call, from its trace.

    A loop counts as often as it runs, a condition as its most expensive branch. Nothing is
    computed, so arguments may be shapes. Raises ValueError for products in a loop of unknown
    length.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = prod(shape[axis] for axis in contracted)
            total += FLOP_PER_MULTIPLY_ADD * depth * equation.outvars[0].aval.size
        inner = [
            _count(getattr(value, "jaxpr", value))
            for param in params.values()
            for value in (param if isinstance(param, tuple | list) else [param])
            if hasattr(getattr(value, "jaxpr", value), "eqns")
        ]
        if name == "while" and any(inner):
            raise ValueError("matrix products in a loop of unknown length")
        total += params.get("length", 1) * (max(inner) if name == "cond" else sum(inner))
    return total
