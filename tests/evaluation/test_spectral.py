"""Spectral and distributional distances: perfect is 0, noise is far, order does not matter."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.linalg import sqrtm
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.frechet import Gaussian, distance, frechet, segment_vectors
from v2s_jax.evaluation.mel import SOUND, band_levels_db
from v2s_jax.evaluation.spectral import (
    distances,
    level_matched_noise,
    spectral_rows,
    third_octave_levels_db,
)

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SILENCE = np.zeros(16_384, np.float32)
CATEGORIES = ("drum", "water_flowing", "printer")
FIELDS = ("log_mel_db", "convergence", "log_magnitude", "band_energy_db")


def made(first: int) -> list[np.ndarray]:
    """Four sounds of each category."""
    return [
        make_clip(category, "test", index, 0, CLOCK, 16).waveform
        for index in range(first, first + 4)
        for category in CATEGORIES
    ]


@pytest.fixture(scope="module")
def sounds():
    return made(0)


@pytest.fixture(scope="module")
def others():
    """Other sounds of the same categories in the same order."""
    return made(4)


NAMES = [*CATEGORIES] * 4


def noise(seed: int, level: float, samples: int = 16_384) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


# Levels


@pytest.mark.parametrize("level_db", [-40.0, -20.0, 0.0])
def test_white_noise_is_as_loud_in_every_band_as_it_is(level_db):
    levels = band_levels_db(noise(0, 10 ** (level_db / 20), 64_000), RATE_HZ, SOUND)
    power_db = 10 * np.log10(np.mean(10 ** (levels / 10), axis=1))
    np.testing.assert_allclose(power_db, level_db, atol=1.0)  # 250 windows, few bins
    silent = band_levels_db(SILENCE, RATE_HZ, SOUND)
    np.testing.assert_allclose(silent, SOUND.floor_db, rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 100, 511, 512, 513, 800])
def test_levels_of_snippets_are_finite(samples):
    for waveform in (noise(0, 0.1, samples), SILENCE[:samples]):
        assert np.isfinite(band_levels_db(waveform, RATE_HZ, SOUND)).all()
        assert np.isfinite(third_octave_levels_db(waveform, RATE_HZ)).all()
        assert np.isfinite(segment_vectors(waveform, RATE_HZ)).all()
        assert distances(waveform, waveform, RATE_HZ)[0] == 0.0


@pytest.mark.parametrize("frequency_hz", [130.0, 400.0, 1_000.0, 5_000.0])
def test_tone_lies_in_its_third_of_an_octave_as_loud_as_it_is(frequency_hz):
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


def test_a_sound_is_no_distance_from_itself(sounds):
    for sound in sounds[:3]:
        assert distances(sound, sound, RATE_HZ) == (0.0, 0.0, 0.0, 0.0)


def test_half_as_loud_is_half_as_far_from_silence_as_it_says():
    loud = noise(0, 0.2)
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


@pytest.mark.slow
def test_rows_stand_in_the_order_that_they_should(sounds, others):
    rows = {row.name: row for row in spectral_rows(others, sounds, RATE_HZ, 0)}
    assert list(rows) == ["own_sound", "shuffled_sound", "noise"]
    for field in ("log_mel_db", "log_magnitude", "band_energy_db"):
        own, shuffled, far = (getattr(row, field).value for row in rows.values())
        assert own < shuffled < far
    perfect = spectral_rows(sounds, sounds, RATE_HZ, 0)[0]
    assert [getattr(perfect, field).value for field in FIELDS] == [0.0] * 4
    assert [getattr(perfect, field).high for field in FIELDS] == [None] * 4
    assert all("alike" in getattr(perfect, field).reason for field in FIELDS)


@pytest.mark.slow
def test_order_of_clips_does_not_matter(sounds, others):
    forward = spectral_rows(others[:6], sounds[:6], RATE_HZ, 0)[0]
    backward = spectral_rows(others[5::-1], sounds[5::-1], RATE_HZ, 0)[0]
    for field in FIELDS:
        values = [getattr(row, field).value for row in (forward, backward)]
        assert values[0] == pytest.approx(values[1])
    parts = [spectral_rows(others[i : i + 3], sounds[i : i + 3], RATE_HZ, 0)[0] for i in (0, 3)]
    mean = np.mean([part.log_mel_db.value for part in parts])
    assert forward.log_mel_db.value == pytest.approx(mean)


def test_silence_and_single_clips_have_reasons_and_no_nan(sounds):
    rows = spectral_rows([SILENCE] * 2, [SILENCE] * 2, RATE_HZ, 0)
    assert rows[0].convergence.value is None
    assert "silent" in rows[0].convergence.reason
    assert rows[0].log_mel_db.value == 0.0
    single = spectral_rows(sounds[:1], sounds[:1], RATE_HZ, 0)
    assert [row.name for row in single] == ["own_sound", "noise"]
    assert single[0].log_mel_db.reason == "1 clip: an interval needs 5"
    for row in (*rows, *single):
        json.dumps(dataclasses.asdict(row), allow_nan=False)
    with pytest.raises(InputError, match="1 generated and 2 true"):
        spectral_rows(sounds[:1], sounds[:2], RATE_HZ, 0)


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


def test_true_sounds_lie_at_the_floor_and_noise_far_above(sounds, others):
    perfect = frechet(sounds, sounds, NAMES, RATE_HZ, 0)
    assert perfect.generated == perfect.floor
    fresh = frechet(others, sounds, NAMES, RATE_HZ, 0)
    assert fresh.floor == perfect.floor
    assert 0 < fresh.floor.lowest <= fresh.floor.mean <= fresh.floor.highest
    assert fresh.generated.mean < 2 * fresh.floor.highest
    assert fresh.noise.lowest > 5 * fresh.floor.highest
    assert (fresh.clips_each, fresh.segments_each) == (6, 24)
    assert 0 < fresh.shrinkage < 1
    noisy = frechet([level_matched_noise(s, 1) for s in sounds], sounds, NAMES, RATE_HZ, 0)
    assert noisy.generated.mean == pytest.approx(noisy.noise.mean, rel=0.05)


@pytest.mark.slow
def test_louder_is_farther(sounds):
    means = [
        frechet([gain * sound for sound in sounds], sounds, NAMES, RATE_HZ, 0).generated.mean
        for gain in np.float32([1.0, 0.5, 0.25])
    ]
    assert means == sorted(means)


def test_few_clips_have_no_distance_and_say_so(sounds):
    row = frechet(sounds[:3], sounds[:3], NAMES[:3], RATE_HZ, 0)
    assert (row.generated, row.floor, row.noise) == (None, None, None)
    assert row.reason == "3 clips: two halves of two need 4"
    four = frechet([SILENCE] * 4, [SILENCE] * 4, ["drum"] * 4, RATE_HZ, 0)
    assert four.generated.mean == four.floor.mean == four.noise.mean == 0.0
    for found in (row, four):
        json.dumps(dataclasses.asdict(found), allow_nan=False)
    with pytest.raises(InputError, match="2 categories, 4 sounds"):
        frechet(sounds[:4], sounds[:4], NAMES[:2], RATE_HZ, 0)
