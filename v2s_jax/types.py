"""The arrays of a clip, and the dimension names that all modules share.

Dimension names in annotations
    batch         clips of a batch
    samples       audio samples of a clip at `Clock.sample_rate_hz`
    video_frames  video frames of a clip at `Clock.fps`
    ticks         time steps of one tier
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float16, UInt8


class FrameFeatures(NamedTuple):
    """Features of one video frame."""

    appearance: Float16[np.ndarray, " appearance_dim"]
    motion: Float16[np.ndarray, " motion_dim"]


class Features(NamedTuple):
    """Features of each video frame of one clip.

    Half precision on disk and on the host; the model converts it to float32. `motion[i]` describes
    the motion around video frame i; each extractor documents between which video frames.
    """

    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]

    @classmethod
    def stack(cls, frames: Iterable[FrameFeatures]) -> "Features":
        """Stack the features of the video frames of a clip, of which there must be at least one."""
        appearance, motion = zip(*frames, strict=True)
        return cls(np.stack(appearance), np.stack(motion))


class Statistics(NamedTuple):
    """Statistics of one feature over a training set, for standardisation."""

    mean: Float[np.ndarray, " feature_dim"]
    scale: float
    """Square root of the variance averaged over the dimensions: one number, so that a dimension
    that hardly varies is not amplified."""
    components: Float[np.ndarray, "feature_dim components"] | None = None
    """Matrix from the centred feature to principal components of variance about 1; None if not
    computed."""


class FeatureStatistics(NamedTuple):
    """The statistics of both features."""

    appearance: Statistics
    motion: Statistics


class Batch(NamedTuple):
    """Whole clips for the training step.

    `features` are what the model reads of a video frame (`ModelConfig.feature_dim`): appearance,
    or appearance and motion concatenated. `mask` is False where a clip was padded to the length of
    the batch. `clip_index` is the index of the record in the split.
    """

    levels: UInt8[np.ndarray, "batch samples"]
    features: Float[np.ndarray, "batch video_frames feature_dim"]
    mask: Bool[np.ndarray, "batch samples"]
    clip_index: np.ndarray
    clip_ids: tuple[str, ...]
    """Names of the clips, for messages."""
    categories: tuple[str, ...]
    """The category of each."""
