"""The recurrent layers of one tier or of the encoder: `layer` for sequences, `step` for one tick.

The state of a stack is the states of its layers side by side, the first layer's first.

How `step` is made fast. The new h of a layer is multiplied by two kernels: its own recurrent kernel
U, for the next tick, and the kernel R that reads h (the input kernel of the layer above, or the
tier's linear map to the tier below). Both are one product h [U, R], and its first part is cached in
`StepState`. So the next tick starts with elementwise operations, and each weight is read once:

    tick t      h[t] = cell(h[t-1], input gates, cached h[t-1] U)
                [h[t] U, h[t] R] = h[t] [U, R]      cache the first part, pass on the second
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from v2s_jax.config import ModelConfig
from v2s_jax.model.linear import along_last_axis, matmul
from v2s_jax.model.rnn import CELLS, Cell, CellSpec, scan_rnn

HIDDEN_ACTIVATION = "hidden"
"""Checkpoint name of the h of a layer at every tick, which rematerialisation keeps."""


def state_dim(config: ModelConfig) -> int:
    """Return the width of a stack's state."""
    return config.rnn_layers * CELLS[config.cell].STATES * config.dim


class StepState(NamedTuple):
    """The state of a stack between two ticks, with the recurrent products of the next tick."""

    state: Float[Array, "batch state"]
    cached_recurrent: Float[Array, "batch gates_of_layers"]
    """h U of each layer, side by side."""


class RNNStack(nn.Module):
    """The recurrent layers. The caller computes the input product of the first one (`gates`)."""

    inputs: int
    config: ModelConfig
    precision: str

    def setup(self) -> None:
        c = self.config
        self.layers = [
            CELLS[c.cell](
                self.inputs if number == 1 else c.dim,
                c.dim,
                c.weight_norm,
                self.precision,
                name=c.cell if number == 1 else f"{c.cell}_{number}",
            )
            for number in range(1, c.rnn_layers + 1)
        ]

    @property
    def input_kernel(self) -> Any:
        """The input kernel of the first layer, as `kernel_param` returns it."""
        return self.layers[0].input_kernel

    @property
    def input_bias(self) -> Float[Array, " gates"]:
        """The input bias of the first layer."""
        return self.layers[0].input_bias

    def input_gates(
        self, x: Float[Array, "*batch inputs"], index: int = 0
    ) -> Float[Array, "*batch gates"]:
        """Return x W + b of one layer."""
        cell = self.layers[index]
        return matmul(x, cell.input_kernel, self.precision) + along_last_axis(cell.input_bias, x)

    def layer(
        self,
        state: Float[Array, "batch state"],
        gates: Float[Array, "#batch ticks gates"],
        update_mask: Bool[Array, "batch ticks"] | None = None,
    ) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks dim"]]:
        """Run over all ticks; return the last state, and the top layer's h at each tick.

        One layer after the other, so that the input product of a layer is one matrix product for
        all ticks. Where `update_mask` is False a row keeps its state.
        """
        mask = None if update_mask is None else update_mask.T[..., None]
        after = []
        for index, before in enumerate(self._by_layer(state)):
            last, hidden = _run(self.layers[index], before, gates, mask)
            after.append(last)
            if index + 1 < len(self.layers):
                gates = self.input_gates(hidden, index + 1)
        return jnp.concatenate(after, axis=-1), hidden

    def fused_output_kernels(
        self, downward: Float[Array, "dim below"]
    ) -> tuple[Float[Array, "dim _"], ...]:
        """Return [U, R] of each layer; `downward` reads the top layer."""
        readers = [*(cell.input_kernel for cell in self.layers[1:]), downward]
        return tuple(
            jnp.concatenate([cell.recurrent_kernel, reader], axis=1)
            for cell, reader in zip(self.layers, readers, strict=True)
        )

    def to_step_state(
        self, state: Float[Array, "batch state"], fused_kernels: Sequence[Any]
    ) -> StepState:
        """Return a state with the recurrent products that the first tick needs.

        It computes the whole fused product and drops R's part, so that rounding is that of `step`.
        """
        layers = zip(self.layers, self._by_layer(state), fused_kernels, strict=True)
        recurrent = [self._fused_output(cell, before, kernel)[0] for cell, before, kernel in layers]
        return StepState(state, jnp.concatenate(recurrent, axis=-1))

    def step(
        self,
        step_state: StepState,
        gates: Float[Array, "batch gates"],
        fused_kernels: Sequence[Any],
    ) -> tuple[StepState, Float[Array, "batch below"]]:
        """Advance one tick; return the top layer's h times `downward`, without bias."""
        states, recurrent = [], []
        for index, cell in enumerate(self.layers):
            before, cached = (self._by_layer(part)[index] for part in step_state)
            spec = CellSpec(type(cell), cell.precision)
            state = spec.step(cell.recurrent_bias, before, gates, cached, None)
            product, projected = self._fused_output(cell, state, fused_kernels[index])
            states.append(state)
            recurrent.append(product)
            if index + 1 < len(self.layers):
                gates = projected + along_last_axis(self.layers[index + 1].input_bias, projected)
        after = StepState(jnp.concatenate(states, axis=-1), jnp.concatenate(recurrent, axis=-1))
        return after, projected

    def _by_layer(self, part: Float[Array, "batch width"]) -> list[Array]:
        return jnp.split(part, self.config.rnn_layers, axis=-1)

    def _fused_output(
        self, cell: Cell, state: Float[Array, "batch state"], kernel: Any
    ) -> tuple[Float[Array, "batch gates"], Float[Array, "batch below"]]:
        """Return h U and h R of one layer."""
        spec = CellSpec(type(cell), cell.precision)
        # The rounding barrier. Without it XLA may push the slices below into the product and
        # compute one part on its own: a product of another shape, which sums in another order.
        # Then `to_step_state`, which drops one part, would not round as `step` does, and a pause
        # in sampling would change the samples after it.
        both = jax.lax.optimization_barrier(spec.recurrent(kernel, state))
        return both[:, : cell.GATES * cell.dim], both[:, cell.GATES * cell.dim :]


def _run(
    cell: Cell,
    state: Float[Array, "batch state"],
    gates: Float[Array, "#batch ticks gates"],
    mask: Bool[Array, "ticks batch 1"] | None,
) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks dim"]]:
    """Run one layer over all ticks; return the last state, and h at each tick."""
    spec = CellSpec(type(cell), cell.precision)
    weights = (cell.recurrent_kernel, cell.recurrent_bias)
    state, by_tick = scan_rnn(spec, weights, state, jnp.swapaxes(gates, 0, 1), mask)
    return state, checkpoint_name(jnp.swapaxes(by_tick[..., : cell.dim], 0, 1), HIDDEN_ACTIVATION)
