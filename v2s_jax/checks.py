"""What must hold of a clip's features before anything is compiled for it."""

import numpy as np
from jaxtyping import Float

from v2s_jax.errors import InputError


def check_features(
    features: Float[np.ndarray, "..."], video_frames: int, feature_dim: int, clip: str
) -> None:
    """Raise InputError unless there is one finite vector of the model's width per video frame."""
    if features.ndim != 2 or features.shape[1] != feature_dim:
        raise InputError(
            f"{clip}: features of shape {features.shape}, the model reads {feature_dim} values of "
            "each video frame: extract them again as its config says"
        )
    if len(features) != video_frames:
        raise InputError(
            f"{clip}: features of {len(features)} video frames, its samples lie in {video_frames}: "
            "give one vector for each"
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{clip}: NaN or infinite values in the features of {np.count_nonzero(~finite)} of "
            f"{video_frames} video frames, first in number {int(np.argmin(finite))}: extract them "
            "again"
        )
