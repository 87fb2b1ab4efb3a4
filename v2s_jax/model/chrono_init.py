"""Chrono initialisation: gate biases that set how long the recurrent layers remember at first.

An update gate z keeps a share z of a unit's state at each tick, so the state fades with a time
constant of 1 / (1 - z) ticks. With a bias of log(T - 1) the time constant is T where the other
inputs of the gate are 0 (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?").
A bias of 0 gives T = 2: a gradient through some hundred ticks vanishes before anything is learned.
The paper draws T uniformly; here log T is evenly spaced, so that as many units start with the
short memories that a waveform needs as with long ones.

An LSTM keeps with its forget gate. Its input gate starts with the opposite bias, so that a cell
that keeps takes in little. Otherwise it would take in half of its input at each tick: cells would
grow until they saturate, and a gradient through hundreds of ticks would overflow.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from v2s_jax.config import MIN_CHRONO_INIT_TICKS, ModelConfig
from v2s_jax.model.rnn import LSTM_FORGET_BIAS

BIG_FRAME_TIER = ("sample_rnn", "big_frame_tier")
ENCODER = ("encoder",)
"""Paths in the tree of parameters."""

SLOW_LAYERS = (BIG_FRAME_TIER, ENCODER)
"""Layers that should remember a whole clip: a tick is a big frame or a video frame."""

FAST_LAYERS = ("sample_rnn", "frame_tier")
"""Layers that need not, but whose gradient goes through at least as many ticks."""

Bias = Float[Array, " dim"]


def apply_chrono_init(
    params: dict[str, Any], model: ModelConfig, max_ticks: int | None
) -> dict[str, Any]:
    """Set the time constants of the slow layers to 2 to `max_ticks` ticks; None changes nothing.

    Each recurrent layer there gets the whole range. The frame tier keeps its time constants; with
    an LSTM its input gates get the opposite bias too.
    """
    if max_ticks is None:
        return params
    ticks = np.geomspace(MIN_CHRONO_INIT_TICKS, max_ticks, model.dim)
    biases = dict.fromkeys(SLOW_LAYERS, jnp.asarray(np.log(ticks - 1), jnp.float32))
    if model.cell == "lstm":
        biases[FAST_LAYERS] = jnp.full((model.dim,), LSTM_FORGET_BIAS, jnp.float32)
    flat = flatten_dict(params["params"])
    for path, leaf in flat.items():
        *tier, _, name = path  # the layer of a stack is the last but one
        if tuple(tier) in biases and name == "input_bias":
            flat[path] = _set_bias(model, leaf, biases[tuple(tier)])
    return {**params, "params": unflatten_dict(flat)}


def _set_bias(model: ModelConfig, input_bias: Float[Array, " gates"], keep: Bias) -> Array:
    """Set the bias of the gate that keeps the state."""
    if model.cell == "gru":  # reset, update, candidate
        return input_bias.at[model.dim : 2 * model.dim].set(keep)
    # input, forget, cell, output
    return input_bias.at[: 2 * model.dim].set(jnp.concatenate([-keep, keep]))
