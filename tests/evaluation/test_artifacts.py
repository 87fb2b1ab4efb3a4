"""Artifacts: each is found where it was put, and none in reference audio."""

import numpy as np
import pytest

from tests.evaluation.audio import RATE_HZ, noise, synthetic_clips
from v2s_jax.config import TINY
from v2s_jax.datasets.synthetic.generator import CATEGORIES
from v2s_jax.evaluation.artifacts import evaluate_artifacts, find_artifacts, repeats
from v2s_jax.quantize import quantize

SAMPLES = 32_768


@pytest.fixture(scope="module")
def sounds():
    """One waveform of each category; the helicopter is near."""
    return [synthetic_clips(category, "test", 1, 32)[0].waveform for category in CATEGORIES]


def tone(level: float, frequency_hz: float) -> np.ndarray:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * time_sec)).astype(np.float32)


def found(waveform: np.ndarray) -> set[str]:
    return find_artifacts(waveform, TINY)


def test_reference_audio_has_no_artifacts(sounds):
    assert [found(sound) for sound in sounds] == [set()] * len(sounds)


def test_each_artifact_is_found():
    assert found(np.zeros(SAMPLES, np.float32)) == {"silent"}
    assert found(np.random.default_rng(0).uniform(-1, 1, SAMPLES).astype(np.float32)) == {"noise"}
    assert found(np.sign(noise(0, 1.0))) == {"rail", "clipped"}
    assert found(noise(0, 0.1) + np.float32(0.05)) == {"dc"}
    assert found(np.tile(noise(0, 0.1)[:2_048], 16)) == {"repeating"}
    assert found(noise(0, 0.1)) == set()


def test_one_window_is_enough_except_for_silence(sounds):
    half = sounds[CATEGORIES.index("water_flowing")].copy()
    half[16_384:] = np.random.default_rng(0).uniform(-1, 1, 16_384)
    assert found(half) == {"noise"}
    half[16_384:] = 0.0
    assert found(half) == set()


@pytest.mark.parametrize(("run", "is_clipped"), [(1, False), (2, False), (3, True), (50, True)])
def test_three_samples_at_full_scale_are_clipped(run, is_clipped):
    waveform = noise(0, 0.05)
    waveform[1_000 : 1_000 + run] = -1.0
    waveform[9_000:9_002] = 1.0
    assert ("clipped" in found(waveform)) == is_clipped


def test_alternating_full_scale_is_not_clipped():
    waveform = noise(0, 0.05)
    waveform[1_000:1_050] = np.resize([-1.0, 1.0], 50)
    assert "clipped" not in found(waveform)


@pytest.mark.parametrize("period", [16, 17, 400, 3_001, 8_000])
def test_exact_loop_is_found_at_any_period(period):
    loop = np.resize(noise(1, 0.2)[:period], 16_384)
    assert repeats(quantize(loop, 256, "linear"), RATE_HZ)
    assert not repeats(quantize(loop + noise(2, 0.02)[:16_384], 256, "linear"), RATE_HZ)


def test_periodic_sounds_with_noise_do_not_repeat():
    """A pulse in noise, a tone whose period is no whole number of samples for half a second."""
    pulses = noise(0, 1 / 128)
    pulses[::1_600] += 0.5
    assert "repeating" not in found(pulses)
    glide = np.sin(2 * np.pi * 300 * np.cumsum(1 + np.arange(SAMPLES) / SAMPLES) / RATE_HZ)
    assert "repeating" not in found((0.5 * glide).astype(np.float32))
    assert "repeating" in found(tone(0.5, 400.0))


@pytest.mark.parametrize("samples", [1, 511, 512, 16_384, 16_385, 17_000])
def test_any_length_is_checked(samples):
    assert found(np.zeros(samples, np.float32)) == ({"silent"} if samples >= 512 else set())
    assert found(noise(0, 0.1)[:samples]) <= {"dc"}  # the mean of a few samples is not near 0


def test_rates_have_intervals_or_reasons(sounds):
    silence = np.zeros(SAMPLES, np.float32)
    flags = [found(sound) for sound in [*sounds[:8], silence, silence]]
    silent = evaluate_artifacts(flags, 0)["silent"]
    assert silent.value == 0.2 and silent.low < 0.2 < silent.high
    assert evaluate_artifacts(flags[:1], 0)["silent"].reason == "1 clip: an interval needs 5"
