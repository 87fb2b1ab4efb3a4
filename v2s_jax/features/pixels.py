"""Pixels: features without learned weights.

For video frame i with luminance Y_i (128 x 128, in [0, 1]) and optical flow (u, v) from video frame
i-1 to i, in px:

    appearance_i = mean of Y_i over 2 x 2 px blocks                    64 x 64 = 4096 values
    motion_i     = mean of max(u, 0), max(-u, 0), max(v, 0), max(-v, 0)
                   over 4 x 4 px blocks: right, left, down, up         4 x 32 x 32 = 4096 values
                   and zero for the first video frame

Maps are row-major, one after the other. The sizes are those of VGG19's fc6, which the paper uses:
the same model fits both extractors.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float16, Float32, UInt8

from v2s_jax.features import Extractor
from v2s_jax.features.optical_flow import luminance, open_flow
from v2s_jax.types import FrameFeatures

INPUT_PX = 128  # a multiple of both map sizes
APPEARANCE_PX = 64
APPEARANCE_DIM = APPEARANCE_PX**2
MOTION_PX = 32
MOTION_DIM = 4 * MOTION_PX**2
WHITE = 255.0  # largest value of 8 bits


class PixelsExtractor(Extractor):
    """Luminance and optical flow, as in the docstring of the module."""

    frame_height_px = INPUT_PX
    frame_width_px = INPUT_PX

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield the features of each video frame; holds two video frames at a time."""
        flow = open_flow("dis")
        previous = None
        for frame in frames:
            gray = luminance(frame)
            still = np.zeros((*gray.shape, 2), np.float32)
            moved = still if previous is None else flow(previous, gray)
            yield FrameFeatures(_appearance(gray), _motion(moved))
            previous = gray

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield only the appearance of each video frame."""
        return (_appearance(luminance(frame)) for frame in frames)


def _appearance(
    gray: UInt8[np.ndarray, "height width"],
) -> Float16[np.ndarray, " appearance_dim"]:
    return (_block_means(gray, APPEARANCE_PX) / WHITE).astype(np.float16).reshape(-1)


def _motion(
    moved: Float32[np.ndarray, "height width 2"],
) -> Float16[np.ndarray, " motion_dim"]:
    """Split flow by direction before the mean, so that opposite motions do not cancel."""
    right, down = moved[..., 0], moved[..., 1]
    maps = [_block_means(np.maximum(part, 0), MOTION_PX) for part in (right, -right, down, -down)]
    return np.stack(maps).astype(np.float16).reshape(-1)


def _block_means(image: np.ndarray, size_px: int) -> Float[np.ndarray, "size size"]:
    """Average a square image over equal blocks, down to `size_px` on a side."""
    block = INPUT_PX // size_px
    return image.reshape(size_px, block, size_px, block).mean(axis=(1, 3))
