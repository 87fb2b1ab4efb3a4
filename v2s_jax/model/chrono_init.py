"""How long the recurrent layers remember at first, where a config says so.

An update gate z keeps a part z of a unit's state at each tick, so that what the unit holds fades
with a time constant of 1 / (1 - z) ticks; with a bias of log(T - 1) it is T where the gate's other
inputs are 0 (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?"). From a bias of
0, T is 2, and a gradient through some hundred ticks has vanished before anything is learned. They
draw T evenly from the whole range; here it is evenly spaced in the logarithm, so that as many units
begin with the short memories that a waveform needs as with the long ones.

An LSTM's forget gate is what keeps, and its input gate begins with the opposite bias, so that what
is kept leaves no room for what is new. Plainly drawn it takes in half of everything at each tick:
cells grow until they are saturated, and a gradient through hundreds of ticks overflows.
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
"""Where the layers lie that are to remember for a whole clip."""

FAST_LAYERS = ("sample_rnn", "frame_tier")
"""Where those lie that are not, but whose gradient goes through as many ticks and more."""

Bias = Float[Array, " dim"]


def apply_chrono_init(
    params: dict[str, Any], model: ModelConfig, longest_ticks: int | None
) -> dict[str, Any]:
    """Return the parameters with time constants of 2 to `longest_ticks` ticks; None: as they are.

    Those are of the coarsest tier, whose tick is a big frame of samples, and of the encoder, whose
    tick is a video frame; each of their recurrent layers gets all. The frame tier keeps its own,
    an LSTM's input gates there are brought down to them.
    """
    if longest_ticks is None:
        return params
    ticks = np.geomspace(MIN_CHRONO_INIT_TICKS, longest_ticks, model.dim)
    keeping = dict.fromkeys(SLOW_LAYERS, jnp.asarray(np.log(ticks - 1), jnp.float32))
    if model.cell == "lstm":
        keeping[FAST_LAYERS] = jnp.full((model.dim,), LSTM_FORGET_BIAS, jnp.float32)
    flat = flatten_dict(params["params"])
    for name, leaf in flat.items():
        if name[:-2] in keeping and name[-1] == "input_bias":  # of each recurrent layer there
            flat[name] = _slow_bias(model, leaf, keeping[name[:-2]])
    return {**params, "params": unflatten_dict(flat)}


def _slow_bias(model: ModelConfig, input_bias: Float[Array, " gates"], keep: Bias) -> Array:
    """Return a recurrent layer's bias whose gates keep so much at first."""
    if model.cell == "gru":  # reset, update, candidate
        return input_bias.at[model.dim : 2 * model.dim].set(keep)
    # input, forget, cell, output
    return input_bias.at[: 2 * model.dim].set(jnp.concatenate([-keep, keep]))
