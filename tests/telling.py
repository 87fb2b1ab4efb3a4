"""Whether one thing tells of another: a permutation test of a predictor that is cross-validated.

The predictor is kernel ridge regression with a Gaussian kernel, which can follow any smooth
relation; each clip is predicted by the others. How well it does is compared with how well it does
when the clips' answers are shuffled: if the one says nothing of the other, the true order is as
good as any shuffled one, and `p_value` is even over (0, 1].
"""

import numpy as np

PERMUTATIONS = 9_999
_RIDGE = 0.1


def p_value(told_by: np.ndarray, of: np.ndarray, seed: int = 0) -> float:
    """Return how likely shuffled answers are foretold as well as `of` [clips].

    `told_by` [clips parts features]: each part of a clip, such as one of its pictures, tells alone.
    """
    clips, parts, features = told_by.shape
    rows = told_by.reshape(clips * parts, features).astype(np.float64)
    others = _left_out_prediction(rows, clips)
    answers = of.astype(np.float64) - of.mean()
    orders = np.tile(answers, (1 + PERMUTATIONS, 1))
    orders[1:] = np.random.default_rng(seed).permuted(orders[1:], axis=1)
    shuffled = np.repeat(orders.T, parts, axis=0)
    foretold = others @ shuffled
    score = (foretold * shuffled).sum(axis=0) / (1e-12 + np.sqrt((foretold**2).sum(axis=0)))
    return float(np.mean(score >= score[0] - 1e-9))


def _left_out_prediction(rows: np.ndarray, clips: int) -> np.ndarray:
    """Return the matrix that foretells every row's answer from those of all other clips."""
    square = (rows**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square - 2.0 * rows @ rows.T, 0.0)
    width = max(float(np.median(distance)), 1e-12)
    kernel = np.exp(-distance / width)
    count = len(rows)
    left = np.eye(count) - kernel @ np.linalg.inv(kernel + _RIDGE * np.eye(count))
    parts = count // clips
    for first in range(0, count, parts):
        own = slice(first, first + parts)
        left[own] = np.linalg.solve(left[own, own], left[own])
    return np.eye(count) - left


def timbre(waveforms: list[np.ndarray], rate_hz: int = 16_000) -> np.ndarray:
    """Return one number a clip: where it lies along what clips' spectra differ in most."""
    edges_hz = np.geomspace(60.0, 0.475 * rate_hz, 17)
    power = np.abs(np.fft.rfft(np.stack(waveforms), axis=1)) ** 2
    place = np.searchsorted(edges_hz, np.fft.rfftfreq(len(waveforms[0]), 1.0 / rate_hz))
    bands = np.stack([power[:, place == band].sum(axis=1) for band in range(1, 17)], axis=1)
    level = np.log10(bands + 1e-3)
    level -= level.mean(axis=0)
    along, size, _ = np.linalg.svd(level, full_matrices=False)
    return along[:, 0] * size[0]
