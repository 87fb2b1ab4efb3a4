"""Recurrent layers: one cell for the tiers and the encoder, standing alone or stacked.

The GRU is the standard one of cuDNN, PyTorch and Flax (reset after the recurrent product):

    r, z = sigmoid(x W_rz + h U_rz + b_rz)
    n    = tanh(x W_n + b_n + r * (h U_n + c_n))
    h'   = (1 - z) * n + z * h

The Theano original applies the reset before the product; docs/SPEC.md records the choice. The LSTM
has no peepholes, and a forget bias that starts high:

    i, f, o = sigmoid(x W_ifo + h U_ifo + b_ifo),  g = tanh(x W_g + h U_g + b_g)
    c'      = f * c + i * g
    h'      = o * tanh(c')

A layer's state is h, or [h; c]; that of a stack is its layers' states side by side, the first
layer's first.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.nn.initializers import Initializer
from jaxtyping import Array, Bool, Float

from v2s_jax.config import ModelConfig
from v2s_jax.model.linear import LECUN_UNIFORM, ORTHOGONAL, kernel_param, matmul
from v2s_jax.model.rnn_scan import CellSpec, scan_rnn

HIDDEN_ACTIVATION = "hidden"
"""What rematerialisation keeps: a layer's h at every tick."""

LSTM_FORGET_BIAS = 3.0
"""sampleRNN_ICLR2017, lib/ops.py: a cell begins by remembering."""


def _gate_orthogonal(gates: int) -> Initializer:
    """Initialise each gate's square block of a recurrent kernel orthogonally."""

    def init(
        key: Array, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> Array:
        blocks = [
            ORTHOGONAL(k, (shape[0], shape[1] // gates), dtype)
            for k in jax.random.split(key, gates)
        ]
        return jnp.concatenate(blocks, axis=1)

    return init


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
        self.input_bias = self.param("input_bias", nn.initializers.zeros, (self.GATES * self.dim,))
        self.candidate_bias = self.param("candidate_bias", nn.initializers.zeros, (self.dim,))

    @staticmethod
    def step(
        h: Float[Array, "batch dim"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        candidate_bias: Float[Array, " dim"],
    ) -> Float[Array, "batch dim"]:
        """Advance one tick; `gates` is the input's product, bias included."""
        reset_in, update_in, candidate_in = jnp.split(gates, GRU.GATES, axis=-1)
        reset_h, update_h, candidate_h = jnp.split(recurrent, GRU.GATES, axis=-1)
        reset, update = nn.sigmoid(reset_in + reset_h), nn.sigmoid(update_in + update_h)
        candidate = nn.tanh(candidate_in + reset * (candidate_h + candidate_bias))
        return candidate + update * (h - candidate)

    @property
    def recurrent_bias(self) -> Float[Array, " dim"]:
        """What `advance` needs besides the products."""
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
        self.input_bias = self.param("input_bias", self._first_bias)

    def _first_bias(self, _: Array) -> Float[Array, " gates"]:
        bias = jnp.zeros((self.GATES * self.dim,), jnp.float32)
        return bias.at[self.dim : 2 * self.dim].set(LSTM_FORGET_BIAS)

    @staticmethod
    def step(
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch gates"],
        recurrent: Float[Array, "batch gates"],
        no_bias: None,
    ) -> Float[Array, "batch state"]:
        """Advance one tick; `gates` is the input's product, bias included."""
        _, c = jnp.split(state, LSTM.STATES, axis=-1)
        into, forget, new, out = jnp.split(gates + recurrent, LSTM.GATES, axis=-1)
        c = nn.sigmoid(forget) * c + nn.sigmoid(into) * nn.tanh(new)
        return jnp.concatenate([nn.sigmoid(out) * nn.tanh(c), c], axis=-1)

    @property
    def recurrent_bias(self) -> None:
        """What `advance` needs besides the products: nothing."""
        return None


CELLS: dict[str, type[GRU] | type[LSTM]] = {"gru": GRU, "lstm": LSTM}


def _kernels(cell: GRU | LSTM, gates: int) -> tuple[Any, Any]:
    """Declare the kernels of a cell's input and of its state."""
    width = gates * cell.dim
    return (
        kernel_param(cell, "input_kernel", (cell.inputs, width), LECUN_UNIFORM, cell.weight_norm),
        kernel_param(
            cell,
            "recurrent_kernel",
            (cell.dim, width),
            _gate_orthogonal(gates),
            cell.weight_norm,
        ),
    )


def state_dim(config: ModelConfig) -> int:
    """Return the width of a stack's state."""
    return config.rnn_layers * CELLS[config.cell].STATES * config.dim


class StepState(NamedTuple):
    """A state between two ticks, with what the next tick needs of it computed already."""

    state: Float[Array, "batch state"]
    recurrent: Float[Array, "batch gates_of_layers"]
    """The recurrent product of each layer's h, side by side."""


class Recurrent(nn.Module):
    """The recurrent layers of one tier or of the encoder.

    The product of the first layer's input is the caller's (`gates`), who may know parts of it long
    before the tick; each further layer reads the new h of the one below.
    """

    inputs: int
    config: ModelConfig
    precision: str

    def setup(self) -> None:
        c = self.config
        self.layers = [
            CELLS[c.cell](
                self.inputs if layer == 1 else c.dim,
                c.dim,
                c.weight_norm,
                self.precision,
                name=c.cell if layer == 1 else f"{c.cell}_{layer}",
            )
            for layer in range(1, c.rnn_layers + 1)
        ]

    @property
    def input_kernel(self) -> Any:
        """The first layer's kernel of its input, as `kernel_param` gives it."""
        return self.layers[0].input_kernel

    @property
    def input_bias(self) -> Float[Array, " gates"]:
        """The first layer's bias."""
        return self.layers[0].input_bias

    def input_gates(
        self, x: Float[Array, "*batch inputs"], layer: int = 0
    ) -> Float[Array, "*batch gates"]:
        """Return the product of a layer's input, bias included."""
        cell = self.layers[layer]
        return matmul(x, cell.input_kernel, self.precision) + cell.input_bias

    def __call__(
        self,
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch ticks gates"],
        update_mask: Bool[Array, "batch ticks"] | None = None,
    ) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks dim"]]:
        """Advance over all ticks; return the state after them and the last layer's h of each.

        Layer by layer, so that the product of a layer's input is one for all ticks. At a tick that
        does not `advance` a row, its state stays.
        """
        mask = None if update_mask is None else update_mask.T[..., None]
        after = []
        for layer, before in enumerate(self._by_layer(state)):
            last, hidden = _run(self.layers[layer], before, gates, mask)
            after.append(last)
            if layer + 1 < len(self.layers):
                gates = self.input_gates(hidden, layer + 1)
        return jnp.concatenate(after, axis=-1), hidden

    # The same layers one tick at a time, for generation.

    def fused_output_kernels(
        self, downward: Float[Array, "dim below"]
    ) -> tuple[Float[Array, "dim _"], ...]:
        """Return what each layer's h is multiplied by: its recurrent kernel, then what reads it.

        That is the next layer's input kernel, or for the last layer `downward`. One product of a
        new h gives both, so that the next tick waits for no product of a state known before it.
        """
        readers = [*(cell.input_kernel for cell in self.layers[1:]), downward]
        return tuple(
            jnp.concatenate([cell.recurrent_kernel, reader], axis=1)
            for cell, reader in zip(self.layers, readers, strict=True)
        )

    def to_step_state(
        self, state: Float[Array, "batch state"], fused_kernels: Sequence[Any]
    ) -> StepState:
        """Return a state as the first tick needs it.

        The whole outward product, as every tick computes it, so that it is rounded alike.
        """
        layers = zip(self.layers, self._by_layer(state), fused_kernels, strict=True)
        recurrent = [self._fused_output(cell, before, kernel)[0] for cell, before, kernel in layers]
        return StepState(state, jnp.concatenate(recurrent, axis=-1))

    def tick(
        self, primed: StepState, gates: Float[Array, "batch gates"], fused_kernels: Sequence[Any]
    ) -> tuple[StepState, Float[Array, "batch below"]]:
        """Advance one tick; return the last layer's h times `downward`, without bias."""
        states, recurrent = [], []
        for layer, cell in enumerate(self.layers):
            before, known = (self._by_layer(part)[layer] for part in primed)
            ticking = CellSpec(type(cell), cell.precision)
            state = ticking.step(cell.recurrent_bias, before, gates, known, None)
            products, read = self._fused_output(cell, state, fused_kernels[layer])
            states.append(state)
            recurrent.append(products)
            if layer + 1 < len(self.layers):
                gates = read + self.layers[layer + 1].input_bias
        after = StepState(jnp.concatenate(states, axis=-1), jnp.concatenate(recurrent, axis=-1))
        return after, read

    def _by_layer(self, part: Float[Array, "batch width"]) -> list[Array]:
        return jnp.split(part, self.config.rnn_layers, axis=-1)

    def _fused_output(
        self, cell: GRU | LSTM, state: Float[Array, "batch state"], kernel: Any
    ) -> tuple[Float[Array, "batch gates"], Float[Array, "batch below"]]:
        """Return the product of a layer's h, in its two parts."""
        # Without the barrier a compiler may compute, and round, one part by itself.
        layer = CellSpec(type(cell), cell.precision)
        both = jax.lax.optimization_barrier(layer.recurrent(kernel, state))
        return both[:, : cell.GATES * cell.dim], both[:, cell.GATES * cell.dim :]


def _run(
    cell: GRU | LSTM,
    state: Float[Array, "batch state"],
    gates: Float[Array, "#batch ticks gates"],
    mask: Bool[Array, "ticks batch 1"] | None,
) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks dim"]]:
    """Advance one layer over all ticks; return the state after them and the h of each."""
    layer = CellSpec(type(cell), cell.precision)
    weights = (cell.recurrent_kernel, cell.recurrent_bias)
    state, by_tick = scan_rnn(layer, weights, state, jnp.swapaxes(gates, 0, 1), mask)
    return state, checkpoint_name(jnp.swapaxes(by_tick[..., : cell.dim], 0, 1), HIDDEN_ACTIVATION)
