"""The classifier of sounds: what it reaches on true sounds, noise at chance, its file."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import TINY, Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation import classifier as module
from v2s_jax.evaluation.classifier import (
    category_accuracy,
    fit_classifier,
    load_classifier,
    save_classifier,
    statistics,
)
from v2s_jax.evaluation.estimate import ALIKE
from v2s_jax.quantize import dequantize, quantize

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
CATEGORIES = ("dog", "drum", "printer", "water_flowing")
TEST_CLIPS = 6


def made(split: str, clips: int) -> list[np.ndarray]:
    """True sounds in the model's levels, categories taking turns."""
    model = TINY.model
    waveforms = [
        make_clip(category, split, index, 0, CLOCK, 16).waveform
        for index in range(clips)
        for category in CATEGORIES
    ]
    return [
        dequantize(quantize(waveform, model.q_levels, model.quantization), 256, model.quantization)
        for waveform in waveforms
    ]


@pytest.fixture(scope="module")
def fitted():
    return fit_classifier(made("train", 10), [*CATEGORIES] * 10, RATE_HZ)


@pytest.fixture(scope="module")
def sounds():
    return made("test", TEST_CLIPS)


WANTED = [*CATEGORIES] * TEST_CLIPS


def noise(seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=16_384)).astype(np.float32)


def test_true_sounds_reach_their_own_ceiling(fitted, sounds):
    report = category_accuracy(fitted, sounds, sounds, WANTED, 0)
    assert report.accuracy == report.ceiling
    assert report.ceiling.value > 0.85
    assert report.chance == report.largest_share == 0.25
    assert (report.ceiling.low or report.ceiling.value) > report.chance  # alike where all are right
    assert report.ceiling_minus_accuracy.value == 0.0
    assert report.ceiling_minus_accuracy.reason == ALIKE  # clip by clip
    assert report.confusion == report.true_confusion
    assert np.sum(report.confusion) == len(sounds)
    assert np.trace(report.confusion) == pytest.approx(report.accuracy.value * len(sounds))
    assert report.trained_on == 40
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_noise_is_at_chance_and_other_categories_below(fitted, sounds):
    noisy = category_accuracy(fitted, [noise(i) for i in range(len(sounds))], sounds, WANTED, 0)
    assert noisy.accuracy.value == noisy.chance  # all of it sounds alike
    assert noisy.ceiling_minus_accuracy.low > 0.3
    turned = category_accuracy(fitted, [*sounds[1:], sounds[0]], sounds, WANTED, 0)
    assert turned.accuracy.value < 0.15
    assert turned.confusion != turned.true_confusion


def test_order_and_company_do_not_matter(fitted, sounds):
    together = fitted.probabilities(sounds)
    alone = np.concatenate([fitted.probabilities([sound]) for sound in sounds])
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    np.testing.assert_allclose(together[::-1], fitted.probabilities(sounds[::-1]), rtol=1e-9)
    np.testing.assert_allclose(together.sum(axis=1), 1.0)
    assert fitted.classify(sounds[:1]) == [fitted.categories[together[0].argmax()]]


@pytest.mark.slow
def test_training_repeats_and_is_what_scikit_learn_says(fitted, sounds):
    train = made("train", 10)
    again = fit_classifier(train, [*CATEGORIES] * 10, RATE_HZ)
    np.testing.assert_array_equal(again.weights, fitted.weights)
    x = (np.stack([statistics(sound, RATE_HZ) for sound in train]) - fitted.mean) / fitted.scale
    reference = LogisticRegression(C=module.INVERSE_PENALTY, max_iter=module.MAX_ITERATIONS)
    reference.fit(x, [*CATEGORIES] * 10)
    unseen = np.stack([statistics(sound, RATE_HZ) for sound in sounds])
    expected = reference.predict_proba((unseen - fitted.mean) / fitted.scale)
    np.testing.assert_allclose(fitted.probabilities(sounds), expected, atol=1e-6)


@pytest.mark.slow
def test_two_categories_are_as_in_scikit_learn(sounds):
    """With two, scikit-learn keeps one row of weights."""
    pair = [sound for sound, name in zip(sounds, WANTED, strict=True) if name in CATEGORIES[:2]]
    names = [*CATEGORIES[:2]] * TEST_CLIPS
    two = fit_classifier(pair, names, RATE_HZ)
    x = np.stack([statistics(sound, RATE_HZ) for sound in pair])
    reference = LogisticRegression(C=module.INVERSE_PENALTY).fit((x - two.mean) / two.scale, names)
    expected = reference.predict_proba((x - two.mean) / two.scale)
    np.testing.assert_allclose(two.probabilities(pair), expected, atol=1e-6)
    assert two.classify(pair) == names


def test_file_keeps_everything_and_is_small(fitted, sounds, tmp_path):
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, fitted)
    loaded = load_classifier(path)
    np.testing.assert_array_equal(loaded.probabilities(sounds), fitted.probabilities(sounds))
    assert loaded.categories == fitted.categories
    assert (loaded.trained_on, loaded.sample_rate_hz) == (40, RATE_HZ)
    assert path.stat().st_size < 16_384
    spoken = dataclasses.replace(fitted, categories=("a dog", "drum", "printer", "water, flowing"))
    save_classifier(path, spoken)
    assert load_classifier(path).categories == spoken.categories


def test_bad_input_gets_one_line(fitted, sounds, tmp_path):
    with pytest.raises(InputError, match="1 category to train"):
        fit_classifier(sounds[:2], ["drum"] * 2, RATE_HZ)
    with pytest.raises(InputError, match="3 categories, 2 sounds"):
        fit_classifier(sounds[:2], ["drum", "dog", "dog"], RATE_HZ)
    with pytest.raises(InputError, match="category snoring: the classifier knows dog, drum"):
        category_accuracy(fitted, sounds[:1], sounds[:1], ["snoring"], 0)
    with pytest.raises(InputError, match="not a readable classifier"):
        load_classifier(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="train it again"):
        load_classifier(tmp_path / "bad.safetensors")


def test_silence_and_snippets_are_classified(fitted):
    for samples in (1, 100, 513):
        for waveform in (np.zeros(samples, np.float32), noise(0)[:samples]):
            assert np.isfinite(fitted.probabilities([waveform])).all()
