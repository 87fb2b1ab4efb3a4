"""Spectral and Frechet distances: perfect is 0, noise is far, and reasons for what is missing."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.linalg import sqrtm

from tests.evaluation.audio import RATE_HZ, noise, synthetic_clips
from v2s_jax.evaluation.frechet import (
    FrechetRow,
    Gaussian,
    distance,
    evaluate_frechet,
    segment_vectors,
)
from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db
from v2s_jax.evaluation.spectral import (
    distances,
    evaluate_spectral,
    level_matched_noise,
    third_octave_levels_db,
)

SAMPLES = 16_384
SILENCE = np.zeros(SAMPLES, np.float32)
CATEGORIES = ("drum", "water_flowing", "printer")


def rendered(first: int) -> list[np.ndarray]:
    """Four waveforms of each category."""
    clips = [synthetic_clips(category, "test", 8, 16) for category in CATEGORIES]
    return [clips[n][index].waveform for index in range(first, first + 4) for n in range(3)]


@pytest.fixture(scope="module")
def sounds():
    return rendered(0)


@pytest.fixture(scope="module")
def others():
    """Other waveforms of the same categories in the same order."""
    return rendered(4)


def frechet(generated, reference, categories) -> FrechetRow:
    noisy = [level_matched_noise(waveform, 0) for waveform in reference]
    vectors = [
        [segment_vectors(waveform, RATE_HZ) for waveform in audio]
        for audio in (generated, reference, noisy)
    ]
    return evaluate_frechet(*vectors, categories, 0)


NAMES = [*CATEGORIES] * 4


# Levels


@pytest.mark.parametrize("level_db", [-40.0, -20.0, 0.0])
def test_white_noise_has_its_level_in_every_band(level_db):
    levels = band_levels_db(noise(0, 10 ** (level_db / 20), 64_000), RATE_HZ, AUDIO_SCALE)
    power_db = 10 * np.log10(np.mean(10 ** (levels / 10), axis=1))
    np.testing.assert_allclose(power_db, level_db, atol=1.0)  # 250 windows, few bins
    silent = band_levels_db(SILENCE, RATE_HZ, AUDIO_SCALE)
    np.testing.assert_allclose(silent, AUDIO_SCALE.floor_db, rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 100, 511, 512, 513, 800])
def test_levels_of_short_waveforms_are_finite(samples):
    for waveform in (noise(0, 0.1, samples), SILENCE[:samples]):
        assert np.isfinite(band_levels_db(waveform, RATE_HZ, AUDIO_SCALE)).all()
        assert np.isfinite(third_octave_levels_db(waveform, RATE_HZ)).all()
        assert np.isfinite(segment_vectors(waveform, RATE_HZ)).all()
        assert distances(waveform, waveform, RATE_HZ)[0] == 0.0


@pytest.mark.parametrize("frequency_hz", [130.0, 400.0, 1_000.0, 5_000.0])
def test_tone_is_in_its_third_octave_band_at_its_level(frequency_hz):
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(16_000) / RATE_HZ).astype(np.float32)
    levels = third_octave_levels_db(0.1 * tone, RATE_HZ)
    assert levels.shape == (18, 20)
    band = int(np.round(10 * np.log10(frequency_hz / 1_000))) + 9
    assert (levels.argmax(axis=0) == band).all()
    # Below 300 Hz a band is narrower than the window's main lobe.
    expected = pytest.approx(-23.01, abs=0.5 if frequency_hz > 300 else 4.0)
    assert levels[band].mean() == expected


def test_bands_end_below_half_the_sample_rate():
    assert third_octave_levels_db(SILENCE, 8_000).shape[0] == 15  # the next ends at 4,467 Hz
    assert third_octave_levels_db(SILENCE, 44_100).shape[0] == 22


# Paired distances


def test_distance_from_itself_is_0(sounds):
    for sound in sounds[:3]:
        assert distances(sound, sound, RATE_HZ) == (0.0, 0.0, 0.0, 0.0)


def test_half_the_amplitude_has_known_distances():
    loud = noise(0, 0.2, SAMPLES)
    found = distances(loud / 2, loud, RATE_HZ)
    assert found.log_mel_db == pytest.approx(6.02, abs=0.01)
    assert found.convergence == pytest.approx(0.5)
    assert found.log_magnitude == pytest.approx(np.log(2), rel=0.01)  # few bins near the floor
    assert 5.5 < found.band_energy_db < 6.03  # narrow bands of noise fall below the floor at times
    assert distances(loud / 4, loud, RATE_HZ).log_mel_db > found.log_mel_db
    assert distances(SILENCE, loud, RATE_HZ).convergence == pytest.approx(1.0)
    assert distances(loud, SILENCE, RATE_HZ).convergence is None


def test_distance_grows_with_the_shift(sounds):
    drum = sounds[0]
    by_shift = [
        distances(np.roll(drum, shift), drum, RATE_HZ).log_mel_db for shift in (0, 80, 320, 1_280)
    ]
    assert by_shift == sorted(by_shift)
    assert by_shift[0] == 0.0


def test_silence_and_single_clips_have_reasons_and_no_nan(sounds):
    silent = distances(SILENCE, SILENCE, RATE_HZ)
    (row, shuffled) = evaluate_spectral([silent] * 2, [silent] * 2, 0)
    assert (row.name, shuffled.name) == ("reference", "shuffled_reference")
    assert row.convergence.value is None
    assert "silent" in row.convergence.reason
    assert row.log_mel_db.value == 0.0
    (single,) = evaluate_spectral([distances(sounds[0], sounds[1], RATE_HZ)], [], 0)
    assert single.log_mel_db.reason == "1 clip: an interval needs 5"
    for found in (row, single):
        json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_noise_is_as_loud_as_the_sound(sounds):
    for sound in sounds[:3]:
        assert level_matched_noise(sound, 0).std() == pytest.approx(sound.std(), rel=0.05)


# The Frechet distance


def test_distance_is_that_of_the_matrix_square_root():
    random = np.random.default_rng(0)
    one, other = (
        Gaussian(random.normal(size=(200, 6)) @ random.normal(size=(6, 6)) + random.normal(size=6))
        for _ in range(2)
    )
    root = sqrtm(one.covariance @ other.covariance).real
    expected = np.sum((one.mean - other.mean) ** 2) + np.trace(
        one.covariance + other.covariance - 2 * root
    )
    assert distance(one, other) == pytest.approx(expected)
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_moved_vectors_are_as_far_as_they_were_moved():
    vectors = np.random.default_rng(0).normal(size=(100, 4))
    assert distance(Gaussian(vectors), Gaussian(vectors + 3.0)) == pytest.approx(36.0)


def test_reference_audio_is_at_the_floor_and_noise_far_above(sounds, others):
    perfect = frechet(sounds, sounds, NAMES)
    assert perfect.generated == perfect.floor
    fresh = frechet(others, sounds, NAMES)
    assert fresh.floor == perfect.floor
    assert 0 < fresh.floor.min <= fresh.floor.mean <= fresh.floor.max
    assert fresh.generated.mean < 2 * fresh.floor.max
    assert fresh.noise.min > 5 * fresh.floor.max
    assert (fresh.clips_each, fresh.segments_each) == (6, 24)
    assert 0 < fresh.shrinkage < 1
    noisy = frechet([level_matched_noise(s, 1) for s in sounds], sounds, NAMES)
    assert noisy.generated.mean == pytest.approx(noisy.noise.mean, rel=0.05)


def test_few_clips_have_no_distance_for_a_reason(sounds):
    row = frechet(sounds[:3], sounds[:3], NAMES[:3])
    assert (row.generated, row.floor, row.noise) == (None, None, None)
    assert row.reason == "3 clips: two halves of two need 4"
    four = frechet([SILENCE] * 4, [SILENCE] * 4, ["drum"] * 4)
    assert four.generated.mean == four.floor.mean == four.noise.mean == 0.0
    for found in (row, four):
        json.dumps(dataclasses.asdict(found), allow_nan=False)
