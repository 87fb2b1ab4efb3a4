"""How long the recurrent layers remember at first, where a config says so.

An update gate z keeps a part z of a unit's state at each tick, so that what the unit holds fades
with a time constant of 1 / (1 - z) ticks; with a bias of log(T - 1) it is T where the gate's other
inputs are 0 (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?"). From a bias of
0, T is 2, and a gradient through some hundred ticks has vanished before anything is learned. They
draw T evenly from the whole range; here it is evenly spaced in the logarithm, so that as many units
begin with the short memories that a waveform needs as with the long ones.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from v2s_jax.config import SHORTEST_MEMORY_TICKS, ModelConfig

REMEMBERING = (("sample_rnn", "big_frame_tier"), ("encoder",))
"""Where the layers lie that are to remember for a whole clip."""


def with_memory(
    params: dict[str, Any], model: ModelConfig, longest_ticks: int | None
) -> dict[str, Any]:
    """Return the parameters with time constants of 2 to `longest_ticks` ticks; None: as they are.

    Those are of the coarsest tier and of the encoder, each of whose recurrent layers gets all.
    """
    if longest_ticks is None:
        return params
    ticks = np.geomspace(SHORTEST_MEMORY_TICKS, longest_ticks, model.dim)
    bias = jnp.asarray(np.log(ticks - 1), jnp.float32)
    tree = params["params"]
    for place in REMEMBERING:
        if place[0] in tree:
            tree = _replaced(tree, place, lambda part: _remembering(part, model, bias))
    return {**params, "params": tree}


def _replaced(tree: Mapping[str, Any], place: tuple[str, ...], change: Any) -> dict[str, Any]:
    """Return the tree with what lies at `place` changed."""
    name, *below = place
    part = _replaced(tree[name], tuple(below), change) if below else change(tree[name])
    return {**tree, name: part}


def _remembering(
    part: Mapping[str, Any], model: ModelConfig, bias: Float[Array, "dim"]
) -> dict[str, Any]:
    """Return a tier or an encoder whose recurrent layers begin with the bias."""
    layers = {name: layer for name, layer in part.items() if name.startswith(model.cell)}
    for name, layer in layers.items():
        of_input = layer["input_bias"]
        dim = model.dim
        if model.cell == "gru":  # reset, update, candidate
            of_input = of_input.at[dim : 2 * dim].set(bias)
        else:  # input, forget, cell, output: what is kept leaves no room for what is new
            of_input = of_input.at[: 2 * dim].set(jnp.concatenate([-bias, bias]))
        layers[name] = {**layer, "input_bias": of_input}
    return {**part, **layers}
