"""The audio classifier: its accuracy on reference audio, noise at chance."""

import dataclasses
import json

import numpy as np
import pytest

from tests.evaluation.audio import RATE_HZ, noise, synthetic_clips
from v2s_jax.config import TINY
from v2s_jax.evaluation.classifier import (
    AudioClassifier,
    CategoryReport,
    TrainAudio,
    evaluate_classification,
    fit_classifier,
)
from v2s_jax.evaluation.clips import requantize
from v2s_jax.evaluation.statistics import ALL_EQUAL

CATEGORIES = ("dog", "drum", "printer", "water_flowing")
TEST_CLIPS = 6


def rendered(split: str, count: int) -> list[np.ndarray]:
    """Reference audio in the model's levels, categories taking turns."""
    clips = [synthetic_clips(category, split, count, 16) for category in CATEGORIES]
    return [
        requantize(clips[n][index].waveform, TINY.model)
        for index in range(count)
        for n in range(len(CATEGORIES))
    ]


def evaluate(classifier: AudioClassifier, generated, reference) -> CategoryReport:
    predicted = ([classifier.classify(one) for one in audio] for audio in (generated, reference))
    known, trained_on = classifier.fitted.categories, classifier.fitted.trained_on
    return evaluate_classification(known, trained_on, *predicted, EXPECTED, 0)


@pytest.fixture(scope="module")
def fitted():
    return fit_classifier(TrainAudio(rendered("train", 10), [*CATEGORIES] * 10, RATE_HZ))


@pytest.fixture(scope="module")
def sounds():
    return rendered("test", TEST_CLIPS)


EXPECTED = [*CATEGORIES] * TEST_CLIPS


def test_reference_audio_reaches_its_ceiling(fitted, sounds):
    report = evaluate(fitted, sounds, sounds)
    assert report.accuracy == report.ceiling
    assert report.ceiling.value > 0.85
    assert report.chance == report.largest_share == 0.25
    assert (report.ceiling.low or report.ceiling.value) > report.chance  # alike where all are right
    assert report.ceiling_minus_accuracy.value == 0.0
    assert report.ceiling_minus_accuracy.reason == ALL_EQUAL  # clip by clip
    assert report.confusion == report.reference_confusion
    assert np.sum(report.confusion) == len(sounds)
    assert np.trace(report.confusion) == pytest.approx(report.accuracy.value * len(sounds))
    assert report.trained_on == 40
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_noise_is_at_chance_and_other_categories_below(fitted, sounds):
    noisy = evaluate(fitted, [noise(i, 0.1, 16_384) for i in range(len(sounds))], sounds)
    assert noisy.accuracy.value == noisy.chance  # all of it sounds alike
    assert noisy.ceiling_minus_accuracy.low > 0.3
    turned = evaluate(fitted, [*sounds[1:], sounds[0]], sounds)
    assert turned.accuracy.value < 0.15
    assert turned.confusion != turned.reference_confusion


@pytest.mark.slow
def test_fit_is_deterministic(fitted):
    again = fit_classifier(TrainAudio(rendered("train", 10), [*CATEGORIES] * 10, RATE_HZ))
    np.testing.assert_array_equal(again.fitted.model.coef_, fitted.fitted.model.coef_)


def test_two_categories_are_told_apart(sounds):
    pair = [sound for sound, name in zip(sounds, EXPECTED, strict=True) if name in CATEGORIES[:2]]
    names = [*CATEGORIES[:2]] * TEST_CLIPS
    two = fit_classifier(TrainAudio(pair, names, RATE_HZ))
    assert [two.classify(sound) for sound in pair] == names


def test_silence_and_short_waveforms_are_classified(fitted):
    for samples in (1, 100, 513):
        for waveform in (np.zeros(samples, np.float32), noise(0, 0.1)[:samples]):
            assert fitted.classify(waveform) in CATEGORIES
