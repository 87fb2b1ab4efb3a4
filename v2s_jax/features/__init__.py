"""Features: RGB video frames in, `Features` out, one vector of each kind per video frame.

`extractor.py` opens an extractor by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
from jaxtyping import Float16, UInt8

from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.types import Features, FrameFeatures


class Extractor(ABC):
    """Turns video frames into features. One extractor serves any number of clips."""

    frame_height_px: ClassVar[int]
    """Height of the video frames it takes."""
    frame_width_px: ClassVar[int]
    """Width of the video frames it takes."""

    @abstractmethod
    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield the features of each video frame; holds a bounded number of video frames."""

    @abstractmethod
    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield only the appearance of each video frame, for models without motion."""

    def start_compiling(self) -> None:
        """Begin what takes long before the first video frame, in another thread."""
        return

    def open_summary(self) -> SeenInVideo | None:
        """Return where the extractor adds up what it sees; None if it names nothing."""
        return None

    def stream_seen(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]], seen: SeenInVideo | None
    ) -> Iterator[FrameFeatures]:
        """Yield the features of each video frame, and add to `seen` what is in it."""
        return self.stream(frames)

    def extract(self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]) -> Features:
        """Return the features of a whole clip, of at least one video frame."""
        return Features.stack(self.stream(frames))
