"""The audio classifier: its accuracy on reference audio, noise at chance, its file."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression

from tests.evaluation.audio import RATE_HZ, noise, synthetic_clips
from v2s_jax.config import TINY
from v2s_jax.evaluation import classifier as module
from v2s_jax.evaluation.classifier import (
    AudioClassifier,
    CategoryReport,
    evaluate_classification,
    fit_classifier,
    mel_statistics,
    save_classifier,
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
    predicted, reference_predicted = (classifier.classify(a) for a in (generated, reference))
    return evaluate_classification(classifier, predicted, reference_predicted, EXPECTED, 0)


@pytest.fixture(scope="module")
def fitted():
    return fit_classifier(rendered("train", 10), [*CATEGORIES] * 10, RATE_HZ)


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


def test_order_and_batch_do_not_matter(fitted, sounds):
    together = fitted.probabilities(sounds)
    alone = np.concatenate([fitted.probabilities([sound]) for sound in sounds])
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    np.testing.assert_allclose(together[::-1], fitted.probabilities(sounds[::-1]), rtol=1e-9)
    np.testing.assert_allclose(together.sum(axis=1), 1.0)
    assert fitted.classify(sounds[:1]) == [fitted.categories[together[0].argmax()]]


@pytest.mark.slow
def test_fit_is_deterministic_and_equals_scikit_learn(fitted, sounds):
    train = rendered("train", 10)
    again = fit_classifier(train, [*CATEGORIES] * 10, RATE_HZ)
    np.testing.assert_array_equal(again.weights, fitted.weights)
    x = (np.stack([mel_statistics(sound, RATE_HZ) for sound in train]) - fitted.mean) / fitted.scale
    reference = LogisticRegression(C=module.INVERSE_PENALTY, max_iter=module.MAX_ITERATIONS)
    reference.fit(x, [*CATEGORIES] * 10)
    unseen = np.stack([mel_statistics(sound, RATE_HZ) for sound in sounds])
    expected = reference.predict_proba((unseen - fitted.mean) / fitted.scale)
    np.testing.assert_allclose(fitted.probabilities(sounds), expected, atol=1e-6)


@pytest.mark.slow
def test_two_categories_equal_scikit_learn(sounds):
    """With two, scikit-learn keeps one row of weights."""
    pair = [sound for sound, name in zip(sounds, EXPECTED, strict=True) if name in CATEGORIES[:2]]
    names = [*CATEGORIES[:2]] * TEST_CLIPS
    two = fit_classifier(pair, names, RATE_HZ)
    x = np.stack([mel_statistics(sound, RATE_HZ) for sound in pair])
    reference = LogisticRegression(C=module.INVERSE_PENALTY).fit((x - two.mean) / two.scale, names)
    expected = reference.predict_proba((x - two.mean) / two.scale)
    np.testing.assert_allclose(two.probabilities(pair), expected, atol=1e-6)
    assert two.classify(pair) == names


def test_file_has_all_parameters(fitted, tmp_path):
    path = tmp_path / "classifier.safetensors"
    names = ("a dog", "drum", "printer", "water, flowing")
    save_classifier(path, dataclasses.replace(fitted, categories=names))
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        np.testing.assert_array_equal(file.get_tensor("weights"), fitted.weights)
    assert tuple(json.loads(metadata["categories"])) == names
    assert (metadata["trained_on"], metadata["sample_rate_hz"]) == ("40", str(RATE_HZ))


def test_silence_and_short_waveforms_are_classified(fitted):
    for samples in (1, 100, 513):
        for waveform in (np.zeros(samples, np.float32), noise(0, 0.1)[:samples]):
            assert np.isfinite(fitted.probabilities([waveform])).all()
