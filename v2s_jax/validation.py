"""Checks of the features of a clip, before anything is compiled for it."""

import numpy as np
from jaxtyping import Bool, Float

from v2s_jax.errors import InputError

HALF_MAGNITUDE = np.uint16(0x7FFF)  # IEEE 754 binary16: all bits but the sign
HALF_INFINITY = np.uint16(0x7C00)


def check_features(
    features: Float[np.ndarray, "..."],
    video_frames: int,
    feature_dim: int,
    clip: str,
    first: int = 0,
) -> None:
    """Raise InputError unless there is one finite vector of the model's width per video frame.

    `first` is the number of the first video frame of `features` in the clip.
    """
    if features.ndim != 2 or features.shape[1] != feature_dim:
        raise InputError(
            f"{clip}: features of shape {features.shape}, the model reads {feature_dim} values per "
            "video frame: extract them with the settings of its config"
        )
    if len(features) != video_frames:
        raise InputError(
            f"{clip}: features of {len(features)} video frames, its samples last {video_frames}: "
            "give one vector per video frame"
        )
    finite = _finite(features).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{clip}: NaN or infinite values in the features of {np.count_nonzero(~finite)} of "
            f"{video_frames} video frames, first in number {first + int(np.argmin(finite))}: "
            "extract them again"
        )


def _finite(values: Float[np.ndarray, "rows width"]) -> Bool[np.ndarray, "rows width"]:
    """Return which values are finite.

    In half precision, infinity and NaN are the values whose exponent bits are all ones. NumPy's
    `isfinite` converts every value first, which takes ten times as long: most of a batch's time.
    """
    if values.dtype != np.float16:
        return np.isfinite(values)
    return (values.view(np.uint16) & HALF_MAGNITUDE) < HALF_INFINITY
