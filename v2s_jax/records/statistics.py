"""Statistics of a training set, for models that standardise what they see."""

import math

import numpy as np

from v2s_jax.records.batches import clip_order
from v2s_jax.records.data_set import DataSet
from v2s_jax.types import AppearanceStatistics

MOST_CLIPS = 256
"""Clips that are read for it: the mean over their thousands of video frames is settled."""


def appearance_statistics(data: DataSet, seed: int) -> AppearanceStatistics:
    """Return the mean and scale of appearance over the first clips in the order of training.

    A function of the data and the seed alone, so every host of a run finds the same.
    """
    chosen = clip_order(seed, len(data), np.arange(min(len(data), MOST_CLIPS)))
    width = data.metadata["appearance_dim"]
    total, squares, video_frames = np.zeros(width), np.zeros(width), 0
    for clip in chosen:
        appearance = data[int(clip)].appearance.astype(np.float64)
        total += appearance.sum(axis=0)
        squares += np.square(appearance).sum(axis=0)
        video_frames += len(appearance)
    mean = total / video_frames
    variance = np.mean(squares / video_frames - np.square(mean))
    scale = math.sqrt(variance) if variance > 0 else 1.0  # a constant picture stays as it is
    return AppearanceStatistics(mean.astype(np.float32), scale)
