"""Whether features predict a target: a permutation test of a cross-validated predictor.

The predictor is kernel ridge regression with a Gaussian kernel, which can fit any smooth relation;
each clip is predicted from the others. Its score is compared with its scores on shuffled targets:
if the features say nothing about the target, `p_value` is uniform over (0, 1].
"""

import numpy as np

PERMUTATIONS = 9_999
_RIDGE = 0.1


def p_value(features: np.ndarray, target: np.ndarray, seed: int = 0) -> float:
    """Return how likely shuffled targets are predicted as well as `target` [clips].

    `features` [clips parts dim]: each part of a clip, such as one video frame, predicts on its own.
    """
    clips, parts, dim = features.shape
    rows = features.reshape(clips * parts, dim).astype(np.float64)
    predictor = _left_out_prediction(rows, clips)
    centred = target.astype(np.float64) - target.mean()
    orders = np.tile(centred, (1 + PERMUTATIONS, 1))
    orders[1:] = np.random.default_rng(seed).permuted(orders[1:], axis=1)
    shuffled = np.repeat(orders.T, parts, axis=0)
    predicted = predictor @ shuffled
    norm = np.sqrt((predicted**2).sum(axis=0))
    score = (predicted * shuffled).sum(axis=0) / (1e-12 + norm)
    return float(np.mean(score >= score[0] - 1e-9))


def _left_out_prediction(rows: np.ndarray, clips: int) -> np.ndarray:
    """Return the matrix that predicts every row's target from those of all other clips."""
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
    """Return one number per clip: the first principal component of the spectra."""
    edges_hz = np.geomspace(60.0, 0.475 * rate_hz, 17)
    power = np.abs(np.fft.rfft(np.stack(waveforms), axis=1)) ** 2
    place = np.searchsorted(edges_hz, np.fft.rfftfreq(len(waveforms[0]), 1.0 / rate_hz))
    bands = np.stack([power[:, place == band].sum(axis=1) for band in range(1, 17)], axis=1)
    level = np.log10(bands + 1e-3)
    level -= level.mean(axis=0)
    along, size, _ = np.linalg.svd(level, full_matrices=False)
    return along[:, 0] * size[0]
