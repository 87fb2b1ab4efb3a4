"""A video's features, made once for all of its takes."""

import itertools
import tempfile
import threading
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float16

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.extractor import Extractor, iter_model_features
from v2s_jax.media import read_video_frames
from v2s_jax.sonification.clips import Clip

IN_MEMORY_BYTES = 64 * 2**20
"""Of features that wait for the later takes of a video, 8 minutes of it; more lie in a file."""

Vector = Float16[np.ndarray, " feature_dim"]


def read_features(clip: Clip, config: Config, extractor: Extractor) -> Iterator[Vector]:
    """Decode a video as generation asks for it.

    A failure is kept, and zeros follow: the other clips of the tile go on.
    """
    frames = read_video_frames(
        clip.video, config.clock, extractor.picture_height_px, extractor.picture_width_px
    )
    try:
        yield from iter_model_features(extractor, frames, config)
    except InputError as error:
        clip.error = str(error)
        yield from itertools.repeat(np.zeros(config.model.feature_dim, np.float16))


class SharedFeatures:
    """One reading of a video for several takes, each of which is somewhere else in it.

    Takes that do not fit into the rows begin when others have ended, and may run on other devices,
    in other threads: what has been read waits for them, first in memory, then in a temporary file.
    """

    def __init__(self, vectors: Iterator[Vector]) -> None:
        self._vectors = vectors
        self._kept = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        self._count = 0
        self._lock = threading.Lock()

    def read(self) -> Iterator[Vector]:
        """Yield all vectors from the first one on, for one take."""
        for index in itertools.count():
            with self._lock:
                vector = self._next() if index == self._count else self._again(index)
            if vector is None:
                return
            yield vector

    def close(self) -> None:
        """Forget what has been read, when the last take has ended."""
        self._kept.close()

    def _next(self) -> Vector | None:
        vector = next(self._vectors, None)
        if vector is not None:
            self._kept.seek(0, 2)
            self._kept.write(vector.tobytes())
            self._bytes = vector.nbytes
            self._count += 1
        return vector

    def _again(self, index: int) -> Vector:
        self._kept.seek(index * self._bytes)
        return np.frombuffer(self._kept.read(self._bytes), np.float16)
