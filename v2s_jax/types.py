"""Words that every stage shares: the arrays of a clip and the dimension names.

Dimension names in annotations
    batch         clips side by side
    samples       audio amplitudes of one clip at `Clock.sample_rate_hz`
    video_frames  pictures of one clip at `Clock.fps`
    ticks         time steps of one tier
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float16, UInt8


class FrameFeatures(NamedTuple):
    """What the extractor says of one video frame."""

    appearance: Float16[np.ndarray, " appearance_dim"]
    motion: Float16[np.ndarray, " motion_dim"]


class Features(NamedTuple):
    """What the extractor says of each video frame of one clip.

    Half precision on disk and on the host; the model widens it. `motion[i]` describes how things
    move around video frame i: each extractor says from which pictures on to which.
    """

    appearance: Float16[np.ndarray, "video_frames appearance_dim"]
    motion: Float16[np.ndarray, "video_frames motion_dim"]

    @classmethod
    def stacked(cls, frames: Iterable[FrameFeatures]) -> "Features":
        """Return the features of a whole clip, which must have at least one video frame."""
        appearance, motion = zip(*frames, strict=True)
        return cls(np.stack(appearance), np.stack(motion))


class Statistics(NamedTuple):
    """What standardisation needs to know of one feature over a training set."""

    mean: Float[np.ndarray, " feature_dim"]
    scale: float
    """Root of the variance averaged over the dimensions: one number, so that a dimension that
    hardly varies is not blown up."""
    components: Float[np.ndarray, "feature_dim components"] | None = None
    """What a feature less its mean is multiplied with to give its principal components, each of a
    variance of about 1; None where nobody asked for them."""


class FeatureStatistics(NamedTuple):
    """The statistics of both features."""

    appearance: Statistics
    motion: Statistics


class Batch(NamedTuple):
    """Whole clips as the training step takes them: one transfer per clip.

    `features` are what the model reads of a video frame (`ModelConfig.feature_dim`): appearance,
    or appearance and motion side by side. `mask` is False where a clip shorter than the batch was
    padded; `clip_index` is the record's index in the split, for the test of the global order.
    """

    levels: UInt8[np.ndarray, "batch samples"]
    features: Float[np.ndarray, "batch video_frames feature_dim"]
    mask: Bool[np.ndarray, "batch samples"]
    clip_index: np.ndarray
    clip_ids: tuple[str, ...]
    """Names of the clips, for messages."""
    categories: tuple[str, ...]
    """The category of each."""
