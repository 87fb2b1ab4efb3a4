"""Feature statistics of a training set, for models that standardise their input."""

import math
from collections.abc import Collection
from typing import get_args

import numpy as np
from jaxtyping import Float16, Float64
from tqdm import tqdm

from v2s_jax.config import Feature
from v2s_jax.datasets.batches import shuffled_indices
from v2s_jax.datasets.schema import ClipSource
from v2s_jax.types import FeatureStatistics, Statistics

MAX_CLIPS = 256
"""Clips that are read: enough for a stable mean over their thousands of video frames."""

MAX_VIDEO_FRAMES = 2_048
"""Video frames, equally many of each clip, for the principal components: many more than anyone
needs components, and few enough to decompose in seconds."""

SHRINKAGE = 0.1
"""Share of the components' mean variance that is added to each before it is scaled to 1, so that
small ones are not blown up. Values from 0.1 to 1 worked equally well on synthetic clips."""

ROUNDING = 1e-9
"""Share of the largest variance below which a component is rounding error."""

MIN_VARIANCE = 2.0**-22
"""Square of the half-precision step just below 1. Features are stored in half precision: a smaller
variance is rounding error, and its scale would not fit half precision."""

PROGRESS_DELAY_SEC = 1.0
"""Delay of the progress bar."""


def feature_statistics(
    data: ClipSource,
    seed: int,
    components: int | None = None,
    features: Collection[Feature] = get_args(Feature),
) -> FeatureStatistics:
    """Return mean and scale of each feature, and optionally principal components.

    The result depends only on the data and the seed, so every host of a run computes the same.

    Args:
        data: the training split.
        seed: seed of the training order; the first clips of it are read.
        components: number of principal components, or None for none.
        features: the features to decompose.

    Returns:
        Statistics of appearance and motion.
    """
    chosen = shuffled_indices(seed, len(data), np.arange(min(len(data), MAX_CLIPS)))
    rows = MAX_VIDEO_FRAMES // len(chosen)
    pca_appearance = components if "appearance" in features else None
    pca_motion = components if "motion" in features else None
    appearance = _RunningMoments(data.metadata["appearance_dim"], rows if pca_appearance else 0)
    motion = _RunningMoments(data.metadata["motion_dim"], rows if pca_motion else 0)
    # Shards take less than the delay; rendering clips takes longer.
    records = tqdm(
        data.read(chosen.tolist()),
        total=len(chosen),
        desc="statistics",
        unit="clip",
        delay=PROGRESS_DELAY_SEC,
        dynamic_ncols=True,
    )
    for record in records:
        appearance.add(record.appearance)
        motion.add(record.motion)
    return FeatureStatistics(appearance.statistics(pca_appearance), motion.statistics(pca_motion))


class _RunningMoments:
    """Running sums of one feature over video frames, and a sample of `rows` of them per clip."""

    def __init__(self, width: int, rows: int) -> None:
        self._total, self._squares = np.zeros(width), np.zeros(width)
        self._video_frames = 0
        self._rows, self._reservoir = rows, [np.zeros((0, width))]

    def add(self, feature: Float16[np.ndarray, "video_frames width"]) -> None:
        values = feature.astype(np.float64)
        self._total += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._video_frames += len(values)
        if self._rows:
            stride = math.ceil(len(values) / self._rows)
            self._reservoir.append(values[::stride])

    def statistics(self, components: int | None) -> Statistics:
        mean = self._total / self._video_frames
        variances = self._squares / self._video_frames - np.square(mean)
        variance = variances.sum() / max(1, variances.size)  # unused motion has width 0
        # Constant features are not scaled.
        scale = math.sqrt(variance) if variance > MIN_VARIANCE else 1.0
        result = Statistics(mean.astype(np.float32), scale)
        if components is None or not mean.size:
            return result
        principal = principal_components(np.concatenate(self._reservoir) - mean, components)
        return result._replace(components=principal.astype(np.float32))


def principal_components(
    values: Float64[np.ndarray, "rows width"], count: int
) -> Float64[np.ndarray, "width count"]:
    """Return the matrix that projects centred rows onto principal components of variance about 1.

    Columns beyond the rank of `values`, and those below MIN_VARIANCE, are zero.
    """
    # Decompose the Gram matrix of the rows: it is smaller than the covariance of wide features.
    variances, vectors = np.linalg.eigh(values @ values.T / len(values))
    variances, vectors = variances[::-1][:count], vectors[:, ::-1][:, :count]
    significant = variances > max(ROUNDING * variances[0], MIN_VARIANCE)
    variances, vectors = variances[significant], vectors[:, significant]
    directions = values.T @ vectors / np.sqrt(len(values) * variances)
    # Fix the sign, which the solver may choose: make the largest element positive.
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
    result = np.zeros((values.shape[1], count))
    floor = SHRINKAGE * variances.sum() / count
    result[:, : len(variances)] = directions / np.sqrt(variances + floor)
    return result
