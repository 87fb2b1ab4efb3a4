"""The entropy floor: bits that a clip's levels cost even an oracle that knows their cause.

The waveform is known_t + fresh_t + background; the last two are Gaussian and independent of the
past (`sound.py`). level_t is its quantised value. For an oracle that is given the state,

    H(level_1 .. level_T | state)
        = sum_t H(level_t | level_1 .. level_(t-1), state)               chain rule
       >= sum_t H(level_t | all draws before t, state)                   knowing more costs no bits
        = sum_t E[ entropy over the levels of Normal(known_t, fresh_variance_t + background^2) ]

because the earlier levels, and all else the oracle knows (clicks, bubbles), follow from the earlier
draws. `floor_bits` is the last line without E. Its mean over clips is a lower bound of the mean
cost of any model; for a single clip it is an estimate. A model sees 15.6 video frames per second
and knows less than the oracle, which has the exact sample of a hit. So the floor may be out of
reach.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import entr, ndtr

from v2s_jax.datasets.synthetic.sound import BACKGROUND_SIGMA, Track
from v2s_jax.quantize import INT16_SCALE, Quantization, quantize

REACH_SIGMA = 7.0
"""Levels further from the mean carry less than 1e-10 bits."""


class Alphabet(NamedTuple):
    """A set of levels."""

    q_levels: int = 256
    quantization: Quantization = "linear"


DEFAULT_ALPHABET = Alphabet()
"""The default levels of the models."""


@functools.cache
def level_edges(q_levels: int, quantization: Quantization) -> Float64[np.ndarray, " edges"]:
    """Return the amplitudes at which the level of a waveform increases, before its rounding.

    The waveform is rounded to 16 bits first, so an edge is half a step below the first 16-bit
    value of the level above.
    """
    values = np.arange(-INT16_SCALE, INT16_SCALE)
    levels = quantize(values / INT16_SCALE, q_levels, quantization).astype(int)
    first = np.searchsorted(levels, np.arange(1, levels[-1] + 1))
    return (values[first] - 0.5) / INT16_SCALE


def floor_bits(track: Track, q_levels: int = 256, quantization: Quantization = "linear") -> float:
    """Return the floor of a clip in bits, summed over its samples."""
    edges = level_edges(q_levels, quantization)
    sigma = np.sqrt(track.fresh_variance + BACKGROUND_SIGMA**2)
    low = np.searchsorted(edges, track.known - REACH_SIGMA * sigma)
    high = np.searchsorted(edges, track.known + REACH_SIGMA * sigma)
    crossed = high - low
    nats = 0.0
    for count in np.unique(crossed[crossed > 0]).tolist():
        here = np.flatnonzero(crossed == count)
        near = edges[low[here, None] + np.arange(count)]
        below = ndtr((near - track.known[here, None]) / sigma[here, None])
        share = np.diff(below, axis=1, prepend=0.0, append=1.0)
        nats += float(entr(np.maximum(share, 0.0)).sum())
    return nats / np.log(2.0)
