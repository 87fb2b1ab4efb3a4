"""The features of one clip, checked as they are read, as far ahead as a block needs them."""

import itertools
from collections.abc import Sized

import numpy as np
from jaxtyping import Float

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.sampling.sampler import BLOCK_VIDEO_FRAMES, Request
from v2s_jax.validation import check_features


class FeatureBuffer:
    """A window over one request's features; what lies before its mark is forgotten."""

    def __init__(self, request: Request, config: Config, name: str) -> None:
        self._vectors = iter(request.features)
        self._width = config.model.feature_dim
        self._name = name
        self._kept: list[np.ndarray] = []
        self._mark = 0
        self._samples = request.samples
        self._video_frames = self._unread = config.clock.video_frames(request.samples)
        if isinstance(request.features, Sized) and len(request.features) != self._video_frames:
            raise self._wrong_number(len(request.features))

    def _wrong_number(self, found: int) -> InputError:
        return InputError(
            f"{self._name}: features of {found} video frames, its {self._samples} samples lie in "
            f"{self._video_frames}: give one vector for each"
        )

    def discard_before(self, video_frame: int) -> None:
        """Keep nothing before this video frame: nobody goes back further."""
        del self._kept[: video_frame - self._mark]
        self._mark = video_frame

    def read(self, video_frame: int) -> Float[np.ndarray, "video_frames feature_dim"]:
        """Return a block's vectors from this video frame on, fewer at the clip's end."""
        begin = video_frame - self._mark
        lacking = min(begin + BLOCK_VIDEO_FRAMES - len(self._kept), self._unread)
        if lacking > 0:
            first = self._video_frames - self._unread
            read = list(itertools.islice(self._vectors, lacking))
            if len(read) < lacking:
                raise self._wrong_number(first + len(read))
            check_features(np.stack(read), lacking, self._width, self._name, first)
            self._unread -= lacking
            self._kept += read
        block = self._kept[begin : begin + BLOCK_VIDEO_FRAMES]
        return np.stack(block) if block else np.zeros((0, self._width), np.float32)
