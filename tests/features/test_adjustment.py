"""Adjusted curves of controls: definitions, ends of a clip, and what a stream has to wait for."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from v2s_jax.config import Clock, ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features.adjustment import Adjustment, Vector, adjust_controls
from v2s_jax.features.controls import CONTROLS_PER_FRAME, QUANTILES, pack_controls
from v2s_jax.features.excerpts import draw_controls

CLOCK = Clock()
PART_MS = 1_000 / float(CLOCK.fps) / CONTROLS_PER_FRAME
LOW, HIGH = np.linspace(0, 0.5, QUANTILES), np.linspace(0.5, 1, QUANTILES)
EXTRACTION = ExtractorConfig(
    categories=("clock", "rain"),
    control_quantiles=(*LOW, *LOW, *HIGH, *LOW),
    control_memory=(0.5, 0.5),
)
MEANS = (0.25, 0.75)


def adjusted(vectors: np.ndarray, **values: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the categories, loudness and onsets of all parts."""
    result = np.stack([*adjust_controls(iter(vectors), EXTRACTION, CLOCK, Adjustment(**values))])
    loudness, onset = (curve.reshape(-1) for curve in np.split(result[:, 2:], 2, axis=1))
    return result[:, :2], loudness, onset


def draw(video_frames: int = 12) -> np.ndarray:
    return np.concatenate(draw_controls(EXTRACTION, 1, video_frames, seed=3), axis=1)


@pytest.mark.parametrize("category", [0, 1])
@pytest.mark.parametrize(("gain", "offset"), [(0, 0), (0.5, 0.1), (3, -0.2), (1, 1)])
def test_loudness_is_scaled_around_the_mean_of_its_category(category, gain, offset):
    vectors = np.concatenate(draw_controls(EXTRACTION, category, 12, seed=3), axis=1)
    weights, before, onset = adjusted(vectors)
    same_weights, after, same_onset = adjusted(vectors, gain=gain, offset=offset)
    mean = MEANS[category]
    expected = np.clip(mean + gain * (before.astype(np.float64) - mean) + offset, 0, 1)
    np.testing.assert_allclose(after, expected, atol=1e-3)  # half precision
    np.testing.assert_array_equal(same_weights, weights)
    np.testing.assert_array_equal(same_onset, onset)


@pytest.mark.parametrize("parts", [*range(-9, 10), 47, 48, 49, -47, -48, -49, 500, -500])
def test_both_curves_are_shifted_and_held_at_the_ends(parts):
    vectors = draw()
    weights, before, onset_before = adjusted(vectors)
    same_weights, loudness, onset = adjusted(vectors, shift_ms=parts * PART_MS)
    source = np.arange(len(before)) - parts
    inside = (source >= 0) & (source < len(before))
    np.testing.assert_array_equal(loudness, before[np.clip(source, 0, len(before) - 1)])
    np.testing.assert_array_equal(onset[inside], onset_before[source[inside]])
    assert not onset[~inside].any()
    np.testing.assert_array_equal(same_weights, weights)


@pytest.mark.parametrize("parts", [0, 1, 4, 5, -1, -4, -5, -8])
def test_no_more_is_read_ahead_than_announced(parts):
    """A stream can neither wait for longer than it says, nor hold all that came."""
    read = 0

    def endless() -> Iterator[Vector]:
        nonlocal read
        for vector in itertools.cycle(draw()):
            read += 1
            yield vector

    adjustment = Adjustment(offset=0.1, shift_ms=parts * PART_MS)
    ahead = adjustment.video_frames_ahead(CLOCK)
    assert ahead == max(0, int(np.ceil(-parts / CONTROLS_PER_FRAME)))
    stream = adjust_controls(endless(), EXTRACTION, CLOCK, adjustment)
    for given, _ in enumerate(itertools.islice(stream, 30), 1):
        assert read == given + ahead


def test_no_category_at_all_is_scaled_around_silence():
    curves = np.full(8, 0.25)
    vectors = np.concatenate(pack_controls(np.zeros((2, 2)), curves, curves), axis=1)
    np.testing.assert_allclose(adjusted(vectors, gain=2)[1], 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gain": -1}, "--loudness-gain -1: use a number from 0 to 10"),
        ({"gain": float("nan")}, "--loudness-gain nan"),
        ({"offset": 2}, "--loudness-offset 2: use a number from -1 to 1"),
        ({"shift_ms": float("inf")}, "--controls-shift-ms inf: use a number from -10000 to 10000"),
    ],
)
def test_values_out_of_range_are_one_line(values, message):
    with pytest.raises(InputError, match=message):
        Adjustment(**values).check()
