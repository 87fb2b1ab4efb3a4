"""The features of one clip, read only as far ahead as the next block needs, and checked."""

import itertools
from collections.abc import Sized

import numpy as np
from jaxtyping import Float

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import window_frames
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES, Request
from v2s_jax.validation import check_features


class FeatureBuffer:
    """A sliding window over one request's features."""

    def __init__(self, request: Request, config: Config, name: str) -> None:
        self._vectors = iter(request.features)
        self._model = config.model
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
        """Free the vectors that windows from this video frame on do not need."""
        start = max(video_frame - self._model.context_past, self._start)
        del self._buffer[: start - self._start]
        self._start = start

    def read(self, video_frame: int) -> Float[np.ndarray, "window feature_dim"]:
        """Return the window of a block that starts at this video frame; shorter at the clip's end.

        The clip's end shortens the block, not the context around it.
        """
        count = min(BLOCK_VIDEO_FRAMES, self._video_frames - video_frame)
        if count <= 0:
            return np.zeros((0, self._model.feature_dim), np.float32)
        window = window_frames(self._model, video_frame, count, self._video_frames)
        self._read_up_to(int(window[-1]))
        return np.stack([self._buffer[frame - self._start] for frame in window])

    def close(self) -> None:
        """Free all vectors, after the last block."""
        self._buffer.clear()

    def _read_up_to(self, video_frame: int) -> None:
        first = self._video_frames - self._unread
        missing = video_frame + 1 - first
        if missing <= 0:
            return
        vectors = list(itertools.islice(self._vectors, missing))
        if len(vectors) < missing:
            raise self._wrong_length(first + len(vectors))
        width = self._model.feature_dim
        check_features(np.stack(vectors), missing, width, self._name, first)
        self._unread -= missing
        self._buffer += vectors
