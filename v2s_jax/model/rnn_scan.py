"""One recurrent layer over all ticks, and its way back.

The gradient of the recurrent kernel U is a sum over the ticks, of h_{t-1}^T (the gradient of
h_{t-1} U). JAX's own rule adds one such product a tick to a matrix as large as U, which costs more
than the products of a small batch. Here the way back keeps what every tick's gradient was, and the
sum is one matrix product over all ticks. What a tick computes elementwise it computes again.
"""

from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from v2s_jax.model.linear import matmul


class Cell(Protocol):
    """A recurrent cell whose state begins with h."""

    STATES: int

    @staticmethod
    def step(state: Array, gates: Array, recurrent: Array, bias: Any, /) -> Array:
        """Return the state after a tick, from the products of its input and of its h."""


class CellSpec(NamedTuple):
    """What is fixed when the program is built."""

    cell: type[Cell]
    precision: str

    def h(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch dim"]:
        """Return the part of a state that the recurrent kernel reads."""
        return state[..., : state.shape[-1] // self.cell.STATES]

    def recurrent(
        self, kernel: Any, state: Float[Array, "*batch state"]
    ) -> Float[Array, "*batch gates"]:
        """Return the product of h."""
        return matmul(self.h(state), kernel, self.precision)

    def step(
        self,
        bias: Any,
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        update_mask: Bool[Array, "batch 1"] | None,
    ) -> Float[Array, "batch state"]:
        """Return the state after a tick; where a row does not advance it stays."""
        stepped = self.cell.step(state, gates, recurrent, bias)
        return stepped if update_mask is None else jnp.where(update_mask, stepped, state)


Weights = tuple[Any, Any]
"""The recurrent kernel, as `linear.kernel_param` gives it, and what else the cell needs."""


class Residuals(NamedTuple):
    """What the way back reads."""

    weights: Weights
    first: Float[Array, "batch state"]
    states: Float[Array, "ticks batch state"]
    """After every tick."""
    gates: Float[Array, "ticks batch gates"]
    recurrent: Float[Array, "ticks batch gates"]
    mask: Bool[Array, "ticks batch 1"] | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan_rnn(
    layer: CellSpec,
    weights: Weights,
    state: Float[Array, "batch state"],
    gates: Float[Array, " ticks #batch gates"],
    mask: Bool[Array, "ticks batch 1"] | None,
) -> tuple[Float[Array, "batch state"], Float[Array, "ticks batch state"]]:
    """Return the state after all ticks, and after each.

    Gates of one row are those of every row; there is no way back from them.
    """
    return _scan_rnn(layer, weights, state, gates, mask, keeps=False)[:2]


def _scan_rnn(
    layer: CellSpec, weights: Weights, state: Array, gates: Array, mask: Array | None, keeps: bool
) -> tuple[Array, Array, Array | None]:
    """Return the state after all ticks, and after each, and every tick's recurrent product."""
    kernel, bias = weights

    def tick(state: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Any]:
        recurrent = layer.recurrent(kernel, state)
        state = layer.step(bias, state, inputs[0], recurrent, inputs[1])
        return state, (state, recurrent if keeps else None)

    last, (states, recurrent) = jax.lax.scan(tick, state, (gates, mask))
    return last, states, recurrent


def _fwd(
    layer: CellSpec, weights: Weights, state: Array, gates: Array, mask: Array | None
) -> tuple[tuple[Array, Array], Residuals]:
    last, states, recurrent = _scan_rnn(layer, weights, state, gates, mask, keeps=True)
    assert recurrent is not None
    return (last, states), Residuals(weights, state, states, gates, recurrent, mask)


def _bwd(
    layer: CellSpec, kept: Residuals, gradients: tuple[Array, Array]
) -> tuple[Weights, Array, Array, None]:
    kernel, bias = kept.weights
    of_last, of_states = gradients
    before = jnp.concatenate([kept.first[None], kept.states[:-1]])

    def tick(loop: tuple[Array, Any], inputs: Any) -> tuple[tuple[Array, Any], Any]:
        of_state, of_bias = loop
        of_output, state, gates, recurrent, update_mask = inputs

        def step(bias: Any, state: Array, gates: Array, recurrent: Array) -> Array:
            return layer.step(bias, state, gates, recurrent, update_mask)

        _, pull = jax.vjp(step, bias, state, gates, recurrent)
        of_bias_now, of_state, of_gates, of_recurrent = pull(of_state + of_output)
        of_h = matmul(of_recurrent, kernel.T, layer.precision)
        of_state = of_state + jnp.pad(of_h, ((0, 0), (0, state.shape[-1] - of_h.shape[-1])))
        of_bias = jax.tree.map(jnp.add, of_bias, of_bias_now)
        return (of_state, of_bias), (of_gates, of_recurrent)

    (of_first, of_bias), (of_gates, of_recurrent) = jax.lax.scan(
        tick,
        (of_last, jax.tree.map(jnp.zeros_like, bias)),
        (of_states, before, kept.gates, kept.recurrent, kept.mask),
        reverse=True,
    )
    of_kernel = matmul(_rows(layer.h(before)).T, _rows(of_recurrent), layer.precision)
    return (of_kernel, of_bias), of_first, of_gates, None


def _rows(x: Float[Array, "ticks batch width"]) -> Float[Array, "rows width"]:
    return x.reshape(-1, x.shape[-1])


scan_rnn.defvjp(_fwd, _bwd)
