"""Statistics of a training set, for models that standardise what they see."""

import math
from collections.abc import Collection
from typing import get_args

import numpy as np
from jaxtyping import Float16, Float64
from tqdm import tqdm

from v2s_jax.config import Feature
from v2s_jax.datasets.batches import shuffled_indices
from v2s_jax.datasets.clip_source import ClipSource
from v2s_jax.types import FeatureStatistics, Statistics

MAX_CLIPS = 256
"""Clips that are read for it: the mean over their thousands of video frames is settled."""

MAX_VIDEO_FRAMES = 2_048
"""Video frames of these, as many of each clip, whose principal components are found: many more than
anyone asks components of, and little enough for a decomposition in seconds."""

SHRINKAGE = 0.1
"""Of the mean variance of the components; added to each before it is brought to 1, so that one that
hardly varies is not blown up. From 0.1 to 1 the onsets of synthetic clips were learned alike."""

ROUNDING = 1e-9
"""Share of the largest variance below which a component is rounding."""

MIN_VARIANCE = 2.0**-22
"""Square of the step of half precision just below 1, in which features are kept: what varies less
does not vary, and what it would be multiplied with would not fit half precision itself."""

SILENT_SEC = 1.0
"""Seconds without a progress bar."""


def feature_statistics(
    data: ClipSource,
    seed: int,
    components: int | None = None,
    features: Collection[Feature] = get_args(Feature),
) -> FeatureStatistics:
    """Return the mean and scale of each feature over the first clips in the order of training.

    With `components` also so many principal ones of `features`. A function of the data and the
    seed alone, so every host of a run finds the same.
    """
    chosen = shuffled_indices(seed, len(data), np.arange(min(len(data), MAX_CLIPS)))
    kept = MAX_VIDEO_FRAMES // len(chosen)
    of_appearance = components if "appearance" in features else None
    of_motion = components if "motion" in features else None
    appearance = _RunningMoments(data.metadata["appearance_dim"], kept if of_appearance else 0)
    motion = _RunningMoments(data.metadata["motion_dim"], kept if of_motion else 0)
    # Shards are read before the bar would appear; clips that must be made take a while.
    read = tqdm(
        data.read(chosen.tolist()),
        total=len(chosen),
        desc="statistics",
        unit="clip",
        delay=SILENT_SEC,
        dynamic_ncols=True,
    )
    for record in read:
        appearance.add(record.appearance)
        motion.add(record.motion)
    return FeatureStatistics(appearance.statistics(of_appearance), motion.statistics(of_motion))


class _RunningMoments:
    """Running sums of one feature over video frames, and some of these, `kept` of each clip."""

    def __init__(self, width: int, kept: int) -> None:
        self._total, self._squares = np.zeros(width), np.zeros(width)
        self._video_frames = 0
        self._kept, self._some = kept, [np.zeros((0, width))]

    def add(self, feature: Float16[np.ndarray, "video_frames width"]) -> None:
        values = feature.astype(np.float64)
        self._total += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._video_frames += len(values)
        if self._kept:
            every = math.ceil(len(values) / self._kept)
            self._some.append(values[::every])

    def statistics(self, components: int | None) -> Statistics:
        mean = self._total / self._video_frames
        spread = self._squares / self._video_frames - np.square(mean)
        variance = spread.sum() / max(1, spread.size)  # motion that nobody reads has no width
        # A constant picture stays as it is.
        scale = math.sqrt(variance) if variance > MIN_VARIANCE else 1.0
        found = Statistics(mean.astype(np.float32), scale)
        if components is None or not mean.size:
            return found
        principal = principal_components(np.concatenate(self._some) - mean, components)
        return found._replace(components=principal.astype(np.float32))


def principal_components(
    values: Float64[np.ndarray, "rows width"], count: int
) -> Float64[np.ndarray, "width count"]:
    """Return what brings rows, less the mean of their set, to principal components.

    Their variance is about 1. Those beyond the rank of `values`, and those that vary less than
    LEAST_VARIANCE, are zero.
    """
    # The matrix of the rows' products: smaller than that of the dimensions where features are wide.
    variances, sides = np.linalg.eigh(values @ values.T / len(values))
    variances, sides = variances[::-1][:count], sides[:, ::-1][:, :count]
    real = variances > max(ROUNDING * variances[0], MIN_VARIANCE)
    variances, sides = variances[real], sides[:, real]
    directions = values.T @ sides / np.sqrt(len(values) * variances)
    # The sign of an eigenvector is the solver's choice: the largest element is to be positive.
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
    result = np.zeros((values.shape[1], count))
    floor = SHRINKAGE * variances.sum() / count
    result[:, : len(variances)] = directions / np.sqrt(variances + floor)
    return result
