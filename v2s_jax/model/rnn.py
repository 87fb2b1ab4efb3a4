"""Recurrent cells, and one recurrent layer over many ticks with its own backward pass.

The GRU is the standard one of cuDNN, PyTorch and Flax (reset after the recurrent product):

    r, z = sigmoid(x W_rz + h U_rz + b_rz)
    n    = tanh(x W_n + b_n + r * (h U_n + c_n))
    h'   = (1 - z) * n + z * h

The Theano original applies the reset before the product; docs/SPEC.md records the choice. The LSTM
has no peepholes, and a forget bias that starts high:

    i, f, o = sigmoid(x W_ifo + h U_ifo + b_ifo),  g = tanh(x W_g + h U_g + b_g)
    c'      = f * c + i * g
    h'      = o * tanh(c')

The state of a layer is h, or [h; c]. A cell is given two products, x W + b ("gates") and h U
("recurrent"), and does the elementwise rest.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Bool, Float

from v2s_jax.model.linear import (
    LECUN_UNIFORM,
    ORTHOGONAL,
    along_last_axis,
    declare,
    kernel_param,
    matmul,
)

LSTM_FORGET_BIAS = 3.0
"""sampleRNN_ICLR2017, lib/ops.py: a new cell remembers."""


class GRU(nn.Module):
    """One gated recurrent layer; its gates are reset, update and candidate, each `dim` wide."""

    inputs: int
    dim: int
    weight_norm: bool
    precision: str

    GATES = 3
    STATES = 1

    def setup(self) -> None:
        self.input_kernel, self.recurrent_kernel = _kernels(self, self.GATES)
        self.input_bias = declare(
            self, "input_bias", nn.initializers.zeros, (self.GATES * self.dim,)
        )
        self.candidate_bias = declare(self, "candidate_bias", nn.initializers.zeros, (self.dim,))

    @staticmethod
    def step(
        h: Float[Array, "batch dim"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        candidate_bias: Float[Array, " dim"],
    ) -> Float[Array, "batch dim"]:
        """Advance one tick."""
        reset_in, update_in, candidate_in = jnp.split(gates, GRU.GATES, axis=-1)
        reset_h, update_h, candidate_h = jnp.split(recurrent, GRU.GATES, axis=-1)
        reset, update = nn.sigmoid(reset_in + reset_h), nn.sigmoid(update_in + update_h)
        candidate = nn.tanh(
            candidate_in + reset * (candidate_h + along_last_axis(candidate_bias, candidate_h))
        )
        return candidate + update * (h - candidate)

    @property
    def recurrent_bias(self) -> Float[Array, " dim"]:
        """The bias that `step` takes."""
        return self.candidate_bias


class LSTM(nn.Module):
    """One LSTM layer; its gates are input, forget, cell and output, its state is [h; c]."""

    inputs: int
    dim: int
    weight_norm: bool
    precision: str

    GATES = 4
    STATES = 2

    def setup(self) -> None:
        self.input_kernel, self.recurrent_kernel = _kernels(self, self.GATES)
        self.input_bias = declare(self, "input_bias", self._init_bias)

    def _init_bias(self, _: Array) -> Float[Array, " gates"]:
        bias = jnp.zeros((self.GATES * self.dim,), jnp.float32)
        return bias.at[self.dim : 2 * self.dim].set(LSTM_FORGET_BIAS)

    @staticmethod
    def step(
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        no_bias: None,
    ) -> Float[Array, "batch state"]:
        """Advance one tick."""
        _, c = jnp.split(state, LSTM.STATES, axis=-1)
        input_, forget, cell, output = jnp.split(gates + recurrent, LSTM.GATES, axis=-1)
        c = nn.sigmoid(forget) * c + nn.sigmoid(input_) * nn.tanh(cell)
        return jnp.concatenate([nn.sigmoid(output) * nn.tanh(c), c], axis=-1)

    @property
    def recurrent_bias(self) -> None:
        """The bias that `step` takes: none."""
        return None


Cell = GRU | LSTM
CELLS: dict[str, type[Cell]] = {"gru": GRU, "lstm": LSTM}


def _kernels(cell: Cell, gates: int) -> tuple[Any, Any]:
    """Declare the input kernel and the recurrent kernel of a cell."""
    width, norm = gates * cell.dim, cell.weight_norm
    init = _gate_orthogonal(gates)
    return (
        kernel_param(cell, "input_kernel", (cell.inputs, width), LECUN_UNIFORM, norm),
        kernel_param(cell, "recurrent_kernel", (cell.dim, width), init, norm),
    )


def _gate_orthogonal(gates: int) -> Initializer:
    """Initialise the square block of each gate orthogonally."""

    def init(
        key: Array, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> Array:
        block = (shape[0], shape[1] // gates)
        blocks = [ORTHOGONAL(gate_key, block, dtype) for gate_key in jax.random.split(key, gates)]
        return jnp.concatenate(blocks, axis=1)

    return init


class CellSpec(NamedTuple):
    """The static part of a layer: hashable, as `custom_vjp` and `jit` need it."""

    cell: type[Cell]
    precision: str

    def h(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch dim"]:
        """Return h, the part of the state that the recurrent kernel multiplies."""
        return state[..., : state.shape[-1] // self.cell.STATES]

    def recurrent(
        self, kernel: Any, state: Float[Array, "*batch state"]
    ) -> Float[Array, "*batch gates"]:
        """Return the recurrent product h U."""
        return matmul(self.h(state), kernel, self.precision)

    def step(
        self,
        bias: Any,
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        update_mask: Bool[Array, "batch 1"] | None,
    ) -> Float[Array, "batch state"]:
        """Return the state after a tick; rows where `update_mask` is False keep theirs."""
        after = self.cell.step(state, gates, recurrent, bias)
        return after if update_mask is None else jnp.where(update_mask, after, state)


# One layer over all ticks, with a custom backward pass.
#
# With d_r[t] the gradient of the recurrent product r[t] = h[t-1] U, the gradient of the kernel is
#
#     dU = sum over t of h[t-1]^T d_r[t]
#
# JAX's derivative of `lax.scan` carries dU through the loop: each tick reads and writes a matrix
# as large as U to add a product of `batch` rows to it. At small batches that memory traffic costs
# more than the arithmetic. `_bwd` instead stacks d_r of all ticks, and one matrix product over
# ticks x batch rows gives dU after the loop. The loop has only d_r[t] U^T left, on the path from
# state to state.
#
# The forward pass saves states and both products as residuals. Sigmoids and tanhs are recomputed
# in the backward pass, where `jax.vjp` of a single tick differentiates them: no gate formula is
# written twice.

Weights = tuple[Any, Any]
"""The recurrent kernel, and the bias of `step` (None for an LSTM)."""


class Residuals(NamedTuple):
    """What the forward pass saves for the backward pass."""

    weights: Weights
    first_state: Float[Array, "batch state"]
    states: Float[Array, "ticks batch state"]
    """After every tick."""
    gates: Float[Array, "ticks batch gates"]
    recurrent: Float[Array, "ticks batch gates"]
    mask: Bool[Array, "ticks batch 1"] | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan_rnn(
    spec: CellSpec,
    weights: Weights,
    state: Float[Array, "batch state"],
    gates: Float[Array, " ticks #batch gates"],
    mask: Bool[Array, "ticks batch 1"] | None,
) -> tuple[Float[Array, "batch state"], Float[Array, "ticks batch state"]]:
    """Return the state after all ticks, and after each.

    Gates of a single row apply to every row; such gates have no gradient.
    """
    return _scan(spec, weights, state, gates, mask, save=False)[:2]


def _scan(
    spec: CellSpec, weights: Weights, state: Array, gates: Array, mask: Array | None, save: bool
) -> tuple[Array, Array, Array | None]:
    """Return the last state, all states, and with `save` all recurrent products."""
    kernel, bias = weights

    def tick(state: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Any]:
        recurrent = spec.recurrent(kernel, state)
        state = spec.step(bias, state, inputs[0], recurrent, inputs[1])
        return state, (state, recurrent if save else None)

    last, (states, recurrent) = jax.lax.scan(tick, state, (gates, mask))
    return last, states, recurrent


def _fwd(
    spec: CellSpec, weights: Weights, state: Array, gates: Array, mask: Array | None
) -> tuple[tuple[Array, Array], Residuals]:
    last, states, recurrent = _scan(spec, weights, state, gates, mask, save=True)
    assert recurrent is not None
    return (last, states), Residuals(weights, state, states, gates, recurrent, mask)


def _bwd(
    spec: CellSpec, saved: Residuals, gradients: tuple[Array, Array]
) -> tuple[Weights, Array, Array, None]:
    kernel, bias = saved.weights
    d_last, d_states = gradients
    before = jnp.concatenate([saved.first_state[None], saved.states[:-1]])

    def tick(loop: tuple[Array, Any], inputs: Any) -> tuple[tuple[Array, Any], Any]:
        d_state, d_bias = loop  # of what the later ticks read
        d_output, state, gates, recurrent, update_mask = inputs

        def step(bias: Any, state: Array, gates: Array, recurrent: Array) -> Array:
            return spec.step(bias, state, gates, recurrent, update_mask)

        _, pull_back = jax.vjp(step, bias, state, gates, recurrent)
        d_bias_now, d_state, d_gates, d_recurrent = pull_back(d_state + d_output)
        # The state also entered through h U; c, where there is one, did not.
        d_h = matmul(d_recurrent, kernel.T, spec.precision)
        d_state = d_state + jnp.pad(d_h, ((0, 0), (0, state.shape[-1] - d_h.shape[-1])))
        d_bias = jax.tree.map(jnp.add, d_bias, d_bias_now)
        return (d_state, d_bias), (d_gates, d_recurrent)

    (d_first, d_bias), (d_gates, d_recurrent) = jax.lax.scan(
        tick,
        (d_last, jax.tree.map(jnp.zeros_like, bias)),
        (d_states, before, saved.gates, saved.recurrent, saved.mask),
        reverse=True,
    )
    d_kernel = matmul(_rows(spec.h(before)).T, _rows(d_recurrent), spec.precision)
    return (d_kernel, d_bias), d_first, d_gates, None


def _rows(x: Float[Array, "ticks batch width"]) -> Float[Array, "rows width"]:
    return x.reshape(-1, x.shape[-1])


scan_rnn.defvjp(_fwd, _bwd)
