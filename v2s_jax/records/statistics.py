"""Statistics of a training set, for models that standardise what they see."""

import math

import numpy as np
from jaxtyping import Float16
from tqdm import tqdm

from v2s_jax.records.batches import clip_order
from v2s_jax.records.clips import Clips
from v2s_jax.types import FeatureStatistics, Statistics

MOST_CLIPS = 256
"""Clips that are read for it: the mean over their thousands of video frames is settled."""

SILENT_SEC = 1.0
"""Seconds without a progress bar."""


def feature_statistics(data: Clips, seed: int) -> FeatureStatistics:
    """Return the mean and scale of each feature over the first clips in the order of training.

    A function of the data and the seed alone, so every host of a run finds the same.
    """
    chosen = clip_order(seed, len(data), np.arange(min(len(data), MOST_CLIPS)))
    appearance = _Sums(data.metadata["appearance_dim"])
    motion = _Sums(data.metadata["motion_dim"])
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
        spread = self._squares / self._video_frames - np.square(mean)
        variance = spread.sum() / max(1, spread.size)  # motion that nobody reads has no width
        scale = math.sqrt(variance) if variance > 0 else 1.0  # a constant picture stays as it is
        return Statistics(mean.astype(np.float32), scale)
