"""Statistics of a training set, for models that standardise what they see."""

import math

import numpy as np
from jaxtyping import Float16

from v2s_jax.records.batches import clip_order
from v2s_jax.records.data_set import DataSet
from v2s_jax.types import FeatureStatistics, Statistics

MOST_CLIPS = 256
"""Clips that are read for it: the mean over their thousands of video frames is settled."""


def feature_statistics(data: DataSet, seed: int) -> FeatureStatistics:
    """Return the mean and scale of each feature over the first clips in the order of training.

    A function of the data and the seed alone, so every host of a run finds the same.
    """
    chosen = clip_order(seed, len(data), np.arange(min(len(data), MOST_CLIPS)))
    appearance = _Sums(data.metadata["appearance_dim"])
    motion = _Sums(data.metadata["motion_dim"])
    for clip in chosen:
        record = data[int(clip)]
        appearance.add(record.appearance)
        motion.add(record.motion)
    return FeatureStatistics(appearance.statistics(), motion.statistics())


class _Sums:
    """Running sums of one feature over video frames."""

    def __init__(self, width: int) -> None:
        self._total, self._squares = np.zeros(width), np.zeros(width)
        self._video_frames = 0

    def add(self, feature: Float16[np.ndarray, "video_frames width"]) -> None:
        values = feature.astype(np.float64)
        self._total += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._video_frames += len(values)

    def statistics(self) -> Statistics:
        mean = self._total / self._video_frames
        variance = np.mean(self._squares / self._video_frames - np.square(mean))
        scale = math.sqrt(variance) if variance > 0 else 1.0  # a constant picture stays as it is
        return Statistics(mean.astype(np.float32), scale)
