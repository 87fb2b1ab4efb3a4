"""Optical flow finds known shifts; stacks have the flows around each video frame."""

from typing import get_args

import cv2
import numpy as np
import pytest

from v2s_jax.config import FlowMethod
from v2s_jax.errors import InputError
from v2s_jax.features.optical_flow import (
    CONTRIB,
    LOOKAHEAD,
    STACK_CHANNELS,
    STACK_FLOWS,
    check_flow,
    flow_bytes,
    flow_stacks,
    luminance,
    open_flow,
)

BORDER_PX = 24  # pixels that enter there have no counterpart


def shifted(right_px: int, down_px: int) -> list[np.ndarray]:
    """Two gray images; the content of the second is shifted right and down."""
    noise = np.random.default_rng(0).random((160, 160)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    scene = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    places = [(16, 16), (16 - down_px, 16 - right_px)]
    return [np.ascontiguousarray(scene[top:, left:][:128, :128]) for top, left in places]


@pytest.mark.parametrize("method", get_args(FlowMethod))
@pytest.mark.parametrize(("right_px", "down_px"), [(3, 2), (-3, -2)])
def test_known_shift_is_found(method, right_px, down_px):
    flow = open_flow(method)
    for _ in range(2):  # without state between calls
        found = flow(*shifted(right_px, down_px))
    assert found.shape == (128, 128, 2) and found.dtype == np.float32
    inner = found[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    assert np.abs(inner.mean(axis=(0, 1)) - (right_px, down_px)).max() < 0.1


def test_flow_missing_from_opencv_is_reported_with_the_fix(monkeypatch):
    monkeypatch.delattr(cv2, CONTRIB)
    with pytest.raises(InputError, match="install opencv-contrib-python-headless") as caught:
        check_flow("tvl1")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="--flow tvl1"):
        open_flow("tvl1")


def test_flow_is_clipped_to_20_px_and_mapped_to_bytes():
    steps = np.array([[-21, -20, -10, 0], [0.08, 10, 20, 400]], np.float32)
    found = flow_bytes(np.stack([steps, -steps], axis=-1))
    assert found[..., 0].tolist() == [[0, 0, 64, 128], [128, 191, 255, 255]]
    assert found[..., 1].tolist() == [[255, 255, 191, 128], [127, 64, 0, 0]]


def numbered(count: int) -> list[np.ndarray]:
    """Images of one gray each: 1, 2, 3, ..."""
    return [np.full((4, 5, 3), number, np.uint8) for number in range(1, count + 1)]


def to_number(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """A flow to the right by the gray of the later image, in px, and one less down."""
    assert after[0, 0] == before[0, 0] + 1
    found = np.zeros((*before.shape, 2), np.float32)
    found[:] = float(after[0, 0]), float(before[0, 0])
    return found


def steps_of(stack: np.ndarray) -> list[int]:
    """The image each flow of a stack leads to, counted from 1; 0 for no flow."""
    assert stack.shape == (4, 5, STACK_CHANNELS) and stack.dtype == np.uint8
    assert (stack == stack[:1, :1]).all()
    rightwards, downwards = (np.rint(stack[0, 0, i::2] * (40 / 255) - 20) for i in (0, 1))
    moves = rightwards != 0
    np.testing.assert_array_equal(rightwards[moves], downwards[moves] + 1)
    return rightwards.astype(int).tolist()


def test_stack_is_centred_and_zero_outside_the_clip():
    found = [steps_of(stack) for stack in flow_stacks(numbered(15), to_number)]
    assert len(found) == 15
    for frame, steps in enumerate(found):  # frame i is image i + 1
        first = frame + 1 - (STACK_FLOWS - LOOKAHEAD - 1)
        leads_to = range(first, first + STACK_FLOWS)
        assert steps == [number if 2 <= number <= 15 else 0 for number in leads_to]
    assert found[7] == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]  # depends on images 3 to 13


def test_stacks_of_the_documented_clip():
    found = [steps_of(stack) for stack in flow_stacks(numbered(3), to_number)]
    assert found == [
        [0, 0, 0, 0, 0, 2, 3, 0, 0, 0],
        [0, 0, 0, 0, 2, 3, 0, 0, 0, 0],
        [0, 0, 0, 2, 3, 0, 0, 0, 0, 0],
    ]
    assert [steps_of(stack) for stack in flow_stacks(numbered(1), to_number)] == [[0] * 10]
    assert list(flow_stacks([], to_number)) == []


def test_stack_reads_five_video_frames_ahead():
    consumed = []

    def endless():
        for image in numbered(200):
            consumed.append(1)
            yield image

    next(flow_stacks(endless(), to_number))
    assert len(consumed) == 1 + LOOKAHEAD


def test_flow_of_a_moving_image_is_in_its_channels():
    pair = [np.repeat(gray[..., None], 3, axis=2) for gray in shifted(4, 0)]
    stack = next(flow_stacks(pair, open_flow("dis")))[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    means = stack.mean(axis=(0, 1)) * (40 / 255) - 20
    rightwards = 2 * (STACK_FLOWS - LOOKAHEAD)  # the first step ahead
    assert abs(means[rightwards] - 4) < 0.1 and abs(means[rightwards + 1]) < 0.1
    np.testing.assert_allclose(np.delete(stack, rightwards, axis=2), 128, atol=1)


def test_luminance_of_primary_colors():
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luminance(colors).tolist() == [[76, 150, 29]]
