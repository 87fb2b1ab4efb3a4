"""The custom backward pass of a recurrent layer equals what JAX derives from a plain scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.flop import count_matmul_flop
from v2s_jax.model.linear import matmul
from v2s_jax.model.rnn import GRU, LSTM, CellSpec, scan_rnn

TICKS, BATCH, DIM = 7, 3, 5


def inputs(cell):
    random = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(random.normal(0, 0.5, shape), jnp.float32)

    weights = normal(DIM, cell.GATES * DIM), normal(DIM) if cell is GRU else None
    state = normal(BATCH, cell.STATES * DIM)
    return weights, state, normal(TICKS, BATCH, cell.GATES * DIM)


def plain(spec, weights, state, gates, mask):
    kernel, bias = weights

    def tick(state, inputs):
        gates, mask = inputs
        recurrent = matmul(state[:, :DIM], kernel, spec.precision)
        after = spec.cell.step(state, gates, recurrent, bias)
        state = after if mask is None else jnp.where(mask, after, state)
        return state, state

    return jax.lax.scan(tick, state, (gates, mask))


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("cell", [GRU, LSTM], ids=["gru", "lstm"])
def test_gradients_equal_those_of_a_plain_scan(cell, masked):
    spec = CellSpec(cell, "highest")
    mask = None
    if masked:
        mask = jnp.asarray(np.random.default_rng(1).random((TICKS, BATCH, 1)) < 0.6)
    random = np.random.default_rng(2)
    d_last = jnp.asarray(random.normal(size=(BATCH, cell.STATES * DIM)), jnp.float32)
    d_states = jnp.asarray(random.normal(size=(TICKS, BATCH, cell.STATES * DIM)), jnp.float32)

    def loss(run):
        def weighted_sum(weights, state, gates):
            last, states = run(spec, weights, state, gates, mask)
            return jnp.sum(last * d_last) + jnp.sum(states * d_states)

        return jax.jit(jax.value_and_grad(weighted_sum, argnums=(0, 1, 2)))(*inputs(cell))

    value, gradients = loss(scan_rnn)
    expected, expected_gradients = loss(plain)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for one, another in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True
    ):
        np.testing.assert_allclose(one, another, atol=2e-6)


def test_kernel_gradient_is_one_product_outside_the_scan():
    """Three products: forward, gradient of h, gradient of the kernel."""
    weights, state, gates = inputs(GRU)

    def loss(weights):
        return jnp.sum(scan_rnn(CellSpec(GRU, "highest"), weights, state, gates, None)[0])

    def kernel_sized(jaxpr) -> list[bool]:
        found = []
        for equation in jaxpr.eqns:
            shapes = [variable.aval.shape for variable in equation.outvars]
            if equation.primitive.name == "dot_general":
                found.append(weights[0].shape in shapes)
            for value in equation.params.values():
                if equation.primitive.name == "scan" and hasattr(value, "jaxpr"):
                    assert not any(kernel_sized(value.jaxpr))
                elif hasattr(value, "jaxpr"):
                    found += kernel_sized(value.jaxpr)
        return found

    assert kernel_sized(jax.make_jaxpr(jax.grad(loss))(weights).jaxpr).count(True) == 1
    one_product = 2 * TICKS * BATCH * weights[0].size
    assert count_matmul_flop(jax.grad(loss), weights) == 3 * one_product
