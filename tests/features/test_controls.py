"""Controls of sounds: definitions of SPEC, on signals whose controls are known."""

import numpy as np
import pytest

from v2s_jax.config import Clock
from v2s_jax.features.controls import (
    CONTROLS_PER_FRAME,
    ONSET_DB,
    QUANTILES,
    RANGE_DB,
    category_range,
    control_curves,
    controls_of_sound,
)

CLOCK = Clock()
PART = CLOCK.samples_per_video_frame // CONTROLS_PER_FRAME


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples)


@pytest.mark.parametrize("clock", [CLOCK, Clock(44_100, 2_816)])
def test_a_hit_is_an_onset_of_its_own_part_not_of_an_earlier_one(clock):
    part = clock.samples_per_video_frame // CONTROLS_PER_FRAME
    quiet = 10 ** (-30 / 20) * noise(40 * part)
    for offset in (0, part // 2, part - part // 8):
        waveform = quiet.copy()
        waveform[20 * part + offset : 26 * part] += noise(6 * part - offset, seed=1)
        loudness, onset = control_curves(waveform, clock)
        assert np.flatnonzero(onset > 0.5)[0] == 20
        assert loudness[21] > 0.95
        np.testing.assert_allclose(loudness[:20], 1 - 30 / RANGE_DB, atol=0.05)


def test_loudness_is_in_db_relative_to_the_loud_parts():
    gains_db = np.repeat([0.0, -6.0, -20.0, -80.0], 25)
    waveform = noise(100 * PART) * np.repeat(10 ** (gains_db / 20), PART)
    loudness, _ = control_curves(waveform, CLOCK)
    for index, expected in enumerate((1.0, 1 - 6 / RANGE_DB, 1 - 20 / RANGE_DB, 0.0)):
        assert loudness[25 * index : 25 * (index + 1)].mean() == pytest.approx(expected, abs=0.02)


def test_a_rise_of_all_bands_is_measured_in_db():
    waveform = noise(40 * PART)
    waveform[20 * PART :] *= 10 ** (ONSET_DB / 2 / 20)
    steady = control_curves(noise(40 * PART), CLOCK)[1].mean()
    assert control_curves(waveform, CLOCK)[1][20] == pytest.approx(0.5 + steady, abs=0.15)


def test_a_gain_changes_nothing_and_silence_is_finite():
    waveform = noise(10 * PART)
    for before, after in zip(
        control_curves(waveform, CLOCK), control_curves(waveform * 0.01, CLOCK), strict=True
    ):
        np.testing.assert_allclose(before, after, atol=1e-5)
    loudness, onset = control_curves(np.zeros(10 * PART), CLOCK)
    assert np.isfinite(loudness).all() and not onset.any()


def test_features_have_a_row_for_each_video_frame():
    controls = controls_of_sound(noise(5 * PART), CLOCK, "rain", ["dog", "rain"])
    assert controls.appearance.tolist() == [[0, 1], [0, 1]]
    loudness, _ = control_curves(noise(5 * PART), CLOCK)
    np.testing.assert_allclose(controls.motion[1, :CONTROLS_PER_FRAME], loudness[4:], atol=1e-3)


def test_quantiles_of_a_category():
    ramp = np.linspace(0, 1, 100 * CONTROLS_PER_FRAME).reshape(100, CONTROLS_PER_FRAME)
    motion = np.concatenate([ramp, np.full_like(ramp, 0.25)], axis=1).astype(np.float16)
    quantiles, memory = category_range([motion])
    values = np.reshape(quantiles, (2, QUANTILES))
    np.testing.assert_allclose(values[0], np.linspace(0, 1, QUANTILES), atol=2e-3)
    np.testing.assert_allclose(values[1], 0.25, atol=1e-3)
    assert memory == pytest.approx(0.99, abs=0.01)
