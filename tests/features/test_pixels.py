"""Pixel features: luminance and directional flow of known images."""

import cv2
import numpy as np
import pytest

from v2s_jax.features.pixels import INPUT_PX, MOTION_PX, PixelsExtractor

BORDER = 4  # blocks of 4 px; pixels that enter at the border have no counterpart


def textured(height_px: int, width_px: int) -> np.ndarray:
    """Smooth random gray texture, uint8."""
    noise = np.random.default_rng(0).random((height_px, width_px)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def shifted_pair(right_px: int, down_px: int) -> list[np.ndarray]:
    """Two RGB images; the content of the second is shifted right and down."""
    scene = textured(INPUT_PX + 20, INPUT_PX + 20)

    def crop(top: int, left: int) -> np.ndarray:
        gray = scene[top : top + INPUT_PX, left : left + INPUT_PX]
        return np.repeat(gray[..., None], 3, axis=2)

    return [crop(10, 10), crop(10 - down_px, 10 - right_px)]


def maps(motion: np.ndarray) -> np.ndarray:
    whole = motion.astype(np.float32).reshape(4, MOTION_PX, MOTION_PX)
    return whole[:, BORDER:-BORDER, BORDER:-BORDER]


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((INPUT_PX, INPUT_PX, 3), (red, green, blue), np.uint8)


@pytest.mark.parametrize(
    ("right_px", "down_px", "expected"),
    [(3, 2, (3, 0, 2, 0)), (-3, -2, (0, 3, 0, 2))],
)
def test_known_shift_is_in_its_maps(right_px, down_px, expected):
    features = PixelsExtractor().extract(shifted_pair(right_px, down_px))
    found = maps(features.motion[1])
    np.testing.assert_allclose(found.mean(axis=(1, 2)), expected, atol=0.02)
    assert np.abs(found - np.array(expected)[:, None, None]).max() < 0.15


def test_still_frames_have_no_motion():
    frame = shifted_pair(0, 0)[0]
    motion = PixelsExtractor().extract([frame] * 3).motion
    assert motion.shape == (3, 4096)
    assert not motion.any()


def test_clips_are_independent_and_start_without_motion():
    extractor = PixelsExtractor()
    pair = shifted_pair(3, 2)
    extractor.extract(pair)
    again = extractor.extract(pair)
    assert not again.motion[0].any()
    assert again.motion[1].any()


def test_streamed_features_equal_those_of_the_whole_clip():
    frames = shifted_pair(3, 2) + shifted_pair(-1, 4)
    extractor = PixelsExtractor()
    whole = extractor.extract(frames)
    streamed = list(extractor.stream(iter(frames)))
    np.testing.assert_array_equal(whole.appearance, [one.appearance for one in streamed])
    np.testing.assert_array_equal(whole.motion, [one.motion for one in streamed])
    appearance = list(extractor.stream_appearance(iter(frames)))
    np.testing.assert_array_equal(whole.appearance, appearance)
    assert whole.appearance.dtype == whole.motion.dtype == np.float16


def test_stream_reads_one_video_frame_at_a_time():
    consumed = []

    def frames():
        for frame in shifted_pair(3, 2):
            consumed.append(1)
            yield frame

    stream = PixelsExtractor().stream(frames())
    next(stream)
    assert len(consumed) == 1


@pytest.mark.parametrize(
    ("color", "luminance"),
    [
        ((255, 255, 255), 1.0),
        ((0, 0, 0), 0.0),
        ((255, 0, 0), 0.299),
        ((0, 255, 0), 0.587),
        ((0, 0, 255), 0.114),
    ],
)
def test_luminance_of_primary_colors(color, luminance):
    appearance = PixelsExtractor().extract([plain(*color)]).appearance
    assert appearance.shape == (1, 4096)
    np.testing.assert_allclose(appearance, luminance, atol=0.5 / 255 + 5e-4)


def test_appearance_is_a_row_major_block_mean():
    frame = plain(0, 0, 0)
    frame[0, 2:4] = 255  # upper half of block (0, 1)
    frame[126:, :2] = 255  # all of block (63, 0)
    appearance = PixelsExtractor().extract([frame]).appearance[0]
    assert appearance[1] == 0.5
    assert appearance[63 * 64] == 1.0
    assert np.count_nonzero(appearance) == 2


def test_other_frame_sizes_are_rejected():
    with pytest.raises(ValueError, match="reshape"):
        PixelsExtractor().extract([np.zeros((120, 128, 3), np.uint8)])
