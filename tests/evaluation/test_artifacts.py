"""Health: each fault is found where it was put, and in no true sound but those that are silent."""

import dataclasses
import json

import numpy as np
import pytest
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip

from v2s_jax.config import TINY, Clock
from v2s_jax.evaluation.artifacts import artifact_flags, artifact_rows, repeats
from v2s_jax.quantize import quantize

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SAMPLES = 32_768


@pytest.fixture(scope="module")
def sounds():
    """One true sound of each category; the helicopter is near."""
    return [make_clip(category, "test", 0, 0, CLOCK, 32).waveform for category in CATEGORIES]


def noise(seed: int, level: float) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=SAMPLES)).astype(np.float32)


def tone(level: float, frequency_hz: float) -> np.ndarray:
    time_sec = np.arange(SAMPLES) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * time_sec)).astype(np.float32)


def found(waveform: np.ndarray) -> set[str]:
    return {
        name for name, is_so in dataclasses.asdict(artifact_flags(waveform, TINY)).items() if is_so
    }


def test_true_sounds_are_healthy(sounds):
    assert [found(sound) for sound in sounds] == [set()] * len(sounds)


def test_each_fault_is_found():
    assert found(np.zeros(SAMPLES, np.float32)) == {"silent"}
    assert found(np.random.default_rng(0).uniform(-1, 1, SAMPLES).astype(np.float32)) == {"noise"}
    assert found(np.sign(noise(0, 1.0))) == {"rail", "clipped"}
    assert found(noise(0, 0.1) + np.float32(0.05)) == {"dc"}
    assert found(np.tile(noise(0, 0.1)[:2_048], 16)) == {"repeating"}
    assert found(noise(0, 0.1)) == set()


def test_a_fault_of_one_window_is_found_and_silence_is_of_all(sounds):
    half = sounds[CATEGORIES.index("water_flowing")].copy()
    half[16_384:] = np.random.default_rng(0).uniform(-1, 1, 16_384)
    assert found(half) == {"noise"}
    half[16_384:] = 0.0
    assert found(half) == set()


@pytest.mark.parametrize(("run", "is_clipped"), [(1, False), (2, False), (3, True), (50, True)])
def test_full_scale_counts_from_three_samples_on(run, is_clipped):
    waveform = noise(0, 0.05)
    waveform[1_000 : 1_000 + run] = -1.0
    waveform[9_000:9_002] = 1.0
    assert artifact_flags(waveform, TINY).clipped == is_clipped


def test_what_swings_from_end_to_end_is_not_cut_off():
    waveform = noise(0, 0.05)
    waveform[1_000:1_050] = np.resize([-1.0, 1.0], 50)
    assert not artifact_flags(waveform, TINY).clipped


@pytest.mark.parametrize("period", [16, 17, 400, 3_001, 8_000])
def test_a_loop_is_found_at_any_period_and_noise_in_it_hides_it(period):
    loop = np.resize(noise(1, 0.2)[:period], 16_384)
    assert repeats(quantize(loop, 256, "linear"), RATE_HZ)
    assert not repeats(quantize(loop + noise(2, 0.02)[:16_384], 256, "linear"), RATE_HZ)


def test_sounds_that_are_merely_periodic_do_not_repeat():
    """A pulse in noise, a tone whose period is no whole number of samples for half a second."""
    pulses = noise(0, 1 / 128)
    pulses[::1_600] += 0.5
    assert not artifact_flags(pulses, TINY).repeating
    glide = np.sin(2 * np.pi * 300 * np.cumsum(1 + np.arange(SAMPLES) / SAMPLES) / RATE_HZ)
    assert not artifact_flags((0.5 * glide).astype(np.float32), TINY).repeating
    assert artifact_flags(tone(0.5, 400.0), TINY).repeating  # as the text says


@pytest.mark.parametrize("samples", [1, 511, 512, 16_384, 16_385, 17_000])
def test_any_length_is_looked_at(samples):
    assert found(np.zeros(samples, np.float32)) == ({"silent"} if samples >= 512 else set())
    assert found(noise(0, 0.1)[:samples]) <= {"dc"}  # the mean of a few samples is not near 0


def test_rates_stand_beside_those_of_true_sounds(sounds):
    silence = np.zeros(SAMPLES, np.float32)
    generated, true = artifact_rows([*sounds[:8], silence, silence], sounds, TINY, 0)
    assert (generated.silent.value, true.silent.value) == (0.2, 0.0)
    assert generated.silent.low < 0.2 < generated.silent.high
    few, _ = artifact_rows(sounds[:1], sounds[:1], TINY, 0)
    assert few.silent.reason == "1 clip: an interval needs 5"
    for row in (generated, true, few):
        json.dumps(dataclasses.asdict(row), allow_nan=False)
    turned, _ = artifact_rows([silence, *sounds[:8], silence], sounds, TINY, 0)
    assert turned.silent.value == generated.silent.value
