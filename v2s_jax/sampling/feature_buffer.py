"""The features of one clip, read only as far ahead as the next block needs, and checked."""

import itertools
from collections.abc import Sized

import numpy as np
from jaxtyping import Float

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES, Request
from v2s_jax.validation import check_features


class FeatureBuffer:
    """A sliding window over one request's features."""

    def __init__(self, request: Request, config: Config, name: str) -> None:
        self._vectors = iter(request.features)
        self._width = config.model.feature_dim
        self._name = name
        self._buffer: list[np.ndarray] = []
        self._start = 0  # video frame of the first vector in the buffer
        self._samples = request.samples
        self._video_frames = self._unread = config.clock.video_frames(request.samples)
        if isinstance(request.features, Sized) and len(request.features) != self._video_frames:
            raise self._wrong_length(len(request.features))

    def _wrong_length(self, count: int) -> InputError:
        return InputError(
            f"{self._name}: features of {count} video frames, but its {self._samples} samples span "
            f"{self._video_frames}: give one vector for each"
        )

    def discard_before(self, video_frame: int) -> None:
        """Free the vectors before this video frame; they cannot be read again."""
        del self._buffer[: video_frame - self._start]
        self._start = video_frame

    def read(self, video_frame: int) -> Float[np.ndarray, "video_frames feature_dim"]:
        """Return a block's vectors from this video frame on; fewer at the clip's end."""
        begin = video_frame - self._start
        missing = min(begin + BLOCK_VIDEO_FRAMES - len(self._buffer), self._unread)
        if missing > 0:
            first = self._video_frames - self._unread
            vectors = list(itertools.islice(self._vectors, missing))
            if len(vectors) < missing:
                raise self._wrong_length(first + len(vectors))
            check_features(np.stack(vectors), missing, self._width, self._name, first)
            self._unread -= missing
            self._buffer += vectors
        block = self._buffer[begin : begin + BLOCK_VIDEO_FRAMES]
        return np.stack(block) if block else np.zeros((0, self._width), np.float32)
