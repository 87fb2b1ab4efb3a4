"""Codes that see no picture: what levels cost a histogram, and order-16 linear prediction.

A code gives each level a probability before it is known; its cost is the sum of -log2 of them.

    unigram    P(level) = its share of the training levels, each counted half a time more
    linear     level_t is what is left of x = sum_k a_k x_(t-k) + residual when it is quantised:
               P(level) = F((upper - prediction) / scale) - F((lower - prediction) / scale)

x_(t-k) are the amplitudes of levels gone by, silence before the first; F is the residual's
distribution; `upper` and `lower` are the amplitudes between which the waveform has that level. So
both are codes of the levels alone, and no clip can cost less than its floor but by luck.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.optimize import minimize_scalar
from scipy.special import expit, ndtr

from v2s_jax.datasets.synthetic.floor import level_edges
from v2s_jax.quantize import Quantization, dequantize

ORDER = 16
"""Samples of the past in a prediction: 1 ms, the usual order for sound at 16 kHz."""

ESCAPE = 1e-3
"""Share of the probability that is even over all levels, so that nothing costs infinitely much."""

Residual = Literal["gauss", "laplace", "logistic"]
RESIDUALS: tuple[Residual, ...] = get_args(Residual)

HALF_COUNT = 0.5  # Krichevsky and Trofimov 1981
_CHOOSE_EVERY = 4  # every fourth training clip is kept apart while the residual is chosen
_FIT_SAMPLES = 1 << 17  # at most, evenly spaced, that a scale is fitted on
_SCALES = np.geomspace(1e-5, 1.0, 26)  # full scale is 1; the best of these is then refined

Levels = UInt8[np.ndarray, " samples"]


class Alphabet(NamedTuple):
    """What the levels are."""

    q_levels: int = 256
    quantization: Quantization = "linear"


PLAIN = Alphabet()
"""The levels that models here have unless told otherwise."""


class LinearCode(NamedTuple):
    """A fitted linear prediction."""

    weights: Float64[np.ndarray, " order"]
    """Of the samples before, the latest first."""
    residual: Residual
    scale: float
    """Of the residual, in amplitude: standard deviation, or the family's own scale."""


def unigram_costs(clips: Sequence[Levels], q_levels: int) -> Float64[np.ndarray, " levels"]:
    """Return the bits that each level costs by its share of the clips' levels."""
    counts = np.full(q_levels, HALF_COUNT)
    for clip in clips:
        counts += np.bincount(clip, minlength=q_levels)
    return -np.log2(counts / counts.sum())


def fit_linear_code(clips: Sequence[Levels], alphabet: Alphabet = PLAIN) -> LinearCode:
    """Fit a code to training clips by least squares, then its scale by the bits that it pays.

    The residual's distribution is the one that pays least on clips that it was not fitted on.
    """
    apart = clips[::_CHOOSE_EVERY]
    kept = [clip for i, clip in enumerate(clips) if i % _CHOOSE_EVERY] or clips
    trial = _weights(kept, alphabet)

    def paid(residual: Residual) -> float:
        code = _scaled(kept, trial, residual, alphabet)
        return sum(float(linear_costs(code, clip, alphabet).sum()) for clip in apart)

    return _scaled(clips, _weights(clips, alphabet), min(RESIDUALS, key=paid), alphabet)


def linear_costs(
    code: LinearCode, levels: Levels, alphabet: Alphabet = PLAIN
) -> Float64[np.ndarray, " samples"]:
    """Return the bits that each level of a clip costs."""
    prediction = _past(levels, alphabet) @ code.weights
    return _costs(levels, prediction, code.scale, code.residual, alphabet)


def _past(levels: Levels, alphabet: Alphabet) -> Float64[np.ndarray, "samples order"]:
    """Return the amplitudes before each sample, the latest first."""
    sound = dequantize(levels, *alphabet).astype(np.float64)
    before = np.concatenate([np.zeros(ORDER), sound[:-1]])
    return np.lib.stride_tricks.sliding_window_view(before, ORDER)[:, ::-1]


def _weights(clips: Sequence[Levels], alphabet: Alphabet) -> Float64[np.ndarray, " order"]:
    products, targets = np.zeros((ORDER, ORDER)), np.zeros(ORDER)
    for clip in clips:
        past = _past(clip, alphabet)
        products += past.T @ past
        targets += past.T @ dequantize(clip, *alphabet).astype(np.float64)
    # By pseudo-inverse: clips that are silent throughout have no past.
    return np.linalg.lstsq(products, targets, rcond=None)[0]


def _scaled(
    clips: Sequence[Levels],
    weights: Float64[np.ndarray, " order"],
    residual: Residual,
    alphabet: Alphabet,
) -> LinearCode:
    """Return the code whose scale pays least on the clips."""
    stride = max(1, sum(map(len, clips)) // _FIT_SAMPLES)
    levels = np.concatenate([clip[::stride] for clip in clips])
    prediction = np.concatenate([_past(clip, alphabet)[::stride] @ weights for clip in clips])

    def paid(log_scale: float) -> float:
        scale = float(np.exp(log_scale))
        return float(_costs(levels, prediction, scale, residual, alphabet).mean())

    grid = np.log(_SCALES)
    best = int(np.argmin([paid(log_scale) for log_scale in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(paid, bounds=around, method="bounded", options={"xatol": 1e-3})
    return LinearCode(weights, residual, float(np.exp(found.x)))


def _costs(
    levels: Levels,
    prediction: Float64[np.ndarray, " samples"],
    scale: float,
    residual: Residual,
    alphabet: Alphabet,
) -> Float64[np.ndarray, " samples"]:
    edges = np.concatenate([[-np.inf], level_edges(*alphabet), [np.inf]])
    distribution = _DISTRIBUTIONS[residual]
    upper = distribution((edges[levels.astype(int) + 1] - prediction) / scale)
    lower = distribution((edges[levels] - prediction) / scale)
    return -np.log2((1.0 - ESCAPE) * (upper - lower) + ESCAPE / alphabet.q_levels)


def _laplace(x: np.ndarray) -> np.ndarray:
    tail = 0.5 * np.exp(-np.abs(x))
    return np.where(x < 0.0, tail, 1.0 - tail)


_DISTRIBUTIONS: dict[Residual, Callable[[np.ndarray], np.ndarray]] = {
    "gauss": ndtr,
    "laplace": _laplace,
    "logistic": expit,
}
