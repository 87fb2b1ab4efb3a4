"""The weight-free features say what their names say."""

import cv2
import numpy as np
import pytest

from v2s_jax.features.pixels import MOTION_PX, PICTURE_PX, PixelsExtractor

BORDER = 4  # blocks of 4 px; what enters at the border has no counterpart


def textured(height_px: int, width_px: int) -> np.ndarray:
    """Smooth random gray texture, uint8."""
    noise = np.random.default_rng(0).random((height_px, width_px)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def shifted_pair(right_px: int, down_px: int) -> list[np.ndarray]:
    """Two RGB pictures; the second one's content lies further right and down."""
    scene = textured(PICTURE_PX + 20, PICTURE_PX + 20)

    def crop(top: int, left: int) -> np.ndarray:
        gray = scene[top : top + PICTURE_PX, left : left + PICTURE_PX]
        return np.repeat(gray[..., None], 3, axis=2)

    return [crop(10, 10), crop(10 - down_px, 10 - right_px)]


def maps(motion: np.ndarray) -> np.ndarray:
    whole = motion.astype(np.float32).reshape(4, MOTION_PX, MOTION_PX)
    return whole[:, BORDER:-BORDER, BORDER:-BORDER]


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((PICTURE_PX, PICTURE_PX, 3), (red, green, blue), np.uint8)


@pytest.mark.parametrize(
    ("right_px", "down_px", "expected"),
    [(3, 2, (3, 0, 2, 0)), (-3, -2, (0, 3, 0, 2))],
)
def test_known_shift_is_found_in_its_maps(right_px, down_px, expected):
    features = PixelsExtractor().extract(shifted_pair(right_px, down_px))
    found = maps(features.motion[1])
    np.testing.assert_allclose(found.mean(axis=(1, 2)), expected, atol=0.02)
    assert np.abs(found - np.array(expected)[:, None, None]).max() < 0.15


def test_static_pictures_have_no_motion():
    picture = shifted_pair(0, 0)[0]
    motion = PixelsExtractor().extract([picture] * 3).motion
    assert motion.shape == (3, 4096)
    assert not motion.any()


def test_first_motion_is_zero_and_a_clip_does_not_remember_the_one_before():
    extractor = PixelsExtractor()
    pair = shifted_pair(3, 2)
    extractor.extract(pair)
    again = extractor.extract(pair)
    assert not again.motion[0].any()
    assert again.motion[1].any()


def test_streamed_equals_whole():
    frames = shifted_pair(3, 2) + shifted_pair(-1, 4)
    extractor = PixelsExtractor()
    whole = extractor.extract(frames)
    streamed = list(extractor.stream(iter(frames)))
    np.testing.assert_array_equal(whole.appearance, [one.appearance for one in streamed])
    np.testing.assert_array_equal(whole.motion, [one.motion for one in streamed])
    alone = list(extractor.stream_appearance(iter(frames)))
    np.testing.assert_array_equal(whole.appearance, alone)
    assert whole.appearance.dtype == whole.motion.dtype == np.float16


def test_stream_takes_one_picture_at_a_time():
    taken = []

    def frames():
        for picture in shifted_pair(3, 2):
            taken.append(1)
            yield picture

    stream = PixelsExtractor().stream(frames())
    next(stream)
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("colour", "luminance"),
    [
        ((255, 255, 255), 1.0),
        ((0, 0, 0), 0.0),
        ((255, 0, 0), 0.299),
        ((0, 255, 0), 0.587),
        ((0, 0, 255), 0.114),
    ],
)
def test_luminance_of_plain_colours(colour, luminance):
    appearance = PixelsExtractor().extract([plain(*colour)]).appearance
    assert appearance.shape == (1, 4096)
    np.testing.assert_allclose(appearance, luminance, atol=0.5 / 255 + 5e-4)


def test_appearance_is_laid_out_row_by_row_and_averaged():
    picture = plain(0, 0, 0)
    picture[0, 2:4] = 255  # upper half of block (0, 1)
    picture[126:, :2] = 255  # all of block (63, 0)
    appearance = PixelsExtractor().extract([picture]).appearance[0]
    assert appearance[1] == 0.5
    assert appearance[63 * 64] == 1.0
    assert np.count_nonzero(appearance) == 2


def test_other_picture_sizes_are_refused():
    with pytest.raises(ValueError, match="reshape"):
        PixelsExtractor().extract([np.zeros((120, 128, 3), np.uint8)])
