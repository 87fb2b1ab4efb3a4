"""Codes that see no video: what levels cost a histogram, and linear prediction of order 16.

A code gives each level a probability before it is known; its cost is the sum of -log2 of these.

    unigram    P(level) = its share of the training levels, with half a count added to each
    linear     level_t is the quantised x = sum_k a_k x_(t-k) + residual:
               P(level) = F((upper - prediction) / scale) - F((lower - prediction) / scale)

x_(t-k) are the amplitudes of earlier levels, silence before the first; F is the residual's
distribution; `upper` and `lower` are the amplitudes between which the waveform has that level. Both
are codes of the levels only, so on average no clip can cost less than its floor.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.optimize import minimize_scalar
from scipy.special import expit, ndtr

from v2s_jax.datasets.synthetic.floor import DEFAULT_ALPHABET, level_edges
from v2s_jax.quantize import dequantize

ORDER = 16
"""Past samples in a prediction: 1 ms, the usual order for audio at 16 kHz."""

ESCAPE = 1e-3
"""Share of the probability that is uniform over all levels, so that no level costs infinity."""

Residual = Literal["gauss", "laplace", "logistic"]
RESIDUALS: tuple[Residual, ...] = get_args(Residual)

_HALF_COUNT = 0.5  # Krichevsky and Trofimov 1981
_VALIDATION_STRIDE = 4  # every fourth training clip chooses the residual
_MAX_FIT_SAMPLES = 1 << 17  # to fit a scale, evenly spaced
_SCALES = np.geomspace(1e-5, 1.0, 26)  # of full scale; the best one is then refined

Levels = UInt8[np.ndarray, " samples"]


class LinearCode(NamedTuple):
    """A fitted linear prediction."""

    weights: Float64[np.ndarray, " order"]
    """Of the previous samples, the latest first."""
    residual: Residual
    scale: float
    """Of the residual, in amplitude."""


def unigram_costs(clips: Sequence[Levels], q_levels: int) -> Float64[np.ndarray, " levels"]:
    """Return the bits that each level costs."""
    counts = np.full(q_levels, _HALF_COUNT)
    for clip in clips:
        counts += np.bincount(clip, minlength=q_levels)
    return -np.log2(counts / counts.sum())


def fit_linear_code(clips: Sequence[Levels]) -> LinearCode:
    """Fit the weights by least squares and the scale by cost; choose the residual by validation."""
    validation = clips[::_VALIDATION_STRIDE]
    rest = [clip for i, clip in enumerate(clips) if i % _VALIDATION_STRIDE] or clips
    trial = _fit_weights(rest)

    def cost(residual: Residual) -> float:
        code = _fit_scale(rest, trial, residual)
        return sum(float(linear_costs(code, clip).sum()) for clip in validation)

    return _fit_scale(clips, _fit_weights(clips), min(RESIDUALS, key=cost))


def linear_costs(code: LinearCode, levels: Levels) -> Float64[np.ndarray, " samples"]:
    """Return the bits that each level of a clip costs."""
    return _costs(levels, _past(levels) @ code.weights, code.scale, code.residual)


def _amplitudes(levels: Levels) -> Float64[np.ndarray, " samples"]:
    return dequantize(levels, *DEFAULT_ALPHABET).astype(np.float64)


def _past(levels: Levels) -> Float64[np.ndarray, "samples order"]:
    """Return the amplitudes before each sample, the latest first."""
    padded = np.concatenate([np.zeros(ORDER), _amplitudes(levels)[:-1]])
    return np.lib.stride_tricks.sliding_window_view(padded, ORDER)[:, ::-1]


def _fit_weights(clips: Sequence[Levels]) -> Float64[np.ndarray, " order"]:
    products, targets = np.zeros((ORDER, ORDER)), np.zeros(ORDER)
    for clip in clips:
        past = _past(clip)
        products += past.T @ past
        targets += past.T @ _amplitudes(clip)
    return np.linalg.lstsq(products, targets, rcond=None)[0]  # singular for silent clips


def _fit_scale(
    clips: Sequence[Levels], weights: Float64[np.ndarray, " order"], residual: Residual
) -> LinearCode:
    """Return the code with the scale that costs least on the clips."""
    stride = max(1, sum(map(len, clips)) // _MAX_FIT_SAMPLES)
    levels = np.concatenate([clip[::stride] for clip in clips])
    prediction = np.concatenate([_past(clip)[::stride] @ weights for clip in clips])

    def cost(log_scale: float) -> float:
        return float(_costs(levels, prediction, float(np.exp(log_scale)), residual).mean())

    grid = np.log(_SCALES)
    best = int(np.argmin([cost(log_scale) for log_scale in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    minimum = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return LinearCode(weights, residual, float(np.exp(minimum.x)))


def _costs(
    levels: Levels, prediction: Float64[np.ndarray, " samples"], scale: float, residual: Residual
) -> Float64[np.ndarray, " samples"]:
    edges = np.concatenate([[-np.inf], level_edges(*DEFAULT_ALPHABET), [np.inf]])
    distribution = _DISTRIBUTIONS[residual]
    upper = distribution((edges[levels.astype(int) + 1] - prediction) / scale)
    lower = distribution((edges[levels] - prediction) / scale)
    return -np.log2((1.0 - ESCAPE) * (upper - lower) + ESCAPE / DEFAULT_ALPHABET.q_levels)


def _laplace(x: np.ndarray) -> np.ndarray:
    tail = 0.5 * np.exp(-np.abs(x))
    return np.where(x < 0.0, tail, 1.0 - tail)


_DISTRIBUTIONS: dict[Residual, Callable[[np.ndarray], np.ndarray]] = {
    "gauss": ndtr,
    "laplace": _laplace,
    "logistic": expit,
}
