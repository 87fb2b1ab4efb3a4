"""A small audio classifier: does generated audio belong to the category of its video?

    x = [mean, standard deviation, mean |change| over time of each mel level], standardised
    p(category | audio) = softmax(W x + b)

Multinomial logistic regression with an L2 penalty (scikit-learn), fitted in seconds on reference
audio of the train split. Every accuracy is shown with its ceiling, the accuracy on the reference
audio of the evaluated clips.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from safetensors.numpy import save_file
from tqdm import tqdm

from v2s_jax.config import ModelConfig
from v2s_jax.datasets import ClipDataset, open_dataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import TRAIN, Selection, reference_audio, select
from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db
from v2s_jax.evaluation.statistics import Audio, Estimate, pooled, pooled_difference, share
from v2s_jax.io import atomic_write

FORMAT = "v2s_jax sound classifier 2"
TRAIN_CLIPS = 100
"""Clips of each category that the classifier is fitted on, at most; independent of --clips, so that
its ceiling does not depend on how many clips are evaluated."""
MIN_CATEGORIES = 2
INVERSE_PENALTY = 0.1
"""scikit-learn's C. Five-fold cross-validation on 300 clips of the synthetic train split gave
accuracies of 0.917 for 0.001, 0.960 for 0.01, 0.983 for 0.1, 0.987 for 1 and for 10: this is the
strongest penalty that costs next to nothing. Generated audio is farther from the mean than
reference audio, so a strong penalty is safer."""
MAX_ITERATIONS = 1_000
MIN_SCALE_DB = 0.1
"""Lower bound of the standard deviations: a band that is always silent is constant."""


@dataclass(frozen=True)
class AudioClassifier:
    """Parameters of the classifier of `categories`."""

    categories: tuple[str, ...]
    sample_rate_hz: int
    trained_on: int
    """Number of clips."""
    mean: Float64[np.ndarray, " values"]
    scale: Float64[np.ndarray, " values"]
    weights: Float64[np.ndarray, "categories values"]
    bias: Float64[np.ndarray, " categories"]

    def probabilities(self, audio: Audio) -> Float64[np.ndarray, "clips categories"]:
        """Return the probability of each category for each clip."""
        x = np.stack([mel_statistics(waveform, self.sample_rate_hz) for waveform in audio])
        scores = (x - self.mean) / self.scale @ self.weights.T + self.bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def classify(self, audio: Audio) -> list[str]:
        """Return the most likely category of each clip."""
        return [self.categories[best] for best in self.probabilities(audio).argmax(axis=1)]


def mel_statistics(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " values"]:
    """Return the input of the classifier for a waveform of any length, all in dB."""
    levels = band_levels_db(waveform, sample_rate_hz, AUDIO_SCALE).astype(np.float64)
    change = np.abs(np.diff(levels, axis=1)).mean(axis=1) if levels.shape[1] > 1 else 0.0
    return np.concatenate(
        [levels.mean(axis=1), levels.std(axis=1), change + np.zeros(AUDIO_SCALE.bands)]
    )


def fit_classifier(audio: Audio, categories: Sequence[str], sample_rate_hz: int) -> AudioClassifier:
    """Fit on reference audio of at least two categories, in the model's levels; deterministic."""
    from sklearn.linear_model import LogisticRegression  # extra `eval`

    known = tuple(sorted(set(categories)))
    x = np.stack([mel_statistics(waveform, sample_rate_hz) for waveform in audio])
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), MIN_SCALE_DB)
    regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS)
    regression.fit((x - mean) / scale, [known.index(name) for name in categories])
    weights, bias = regression.coef_, regression.intercept_
    if len(known) == 2:  # scikit-learn keeps the log odds of the second category only
        weights, bias = np.concatenate([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
    return AudioClassifier(known, sample_rate_hz, len(audio), mean, scale, weights, bias)


def fit_on_train(directory: str, clips: Selection, model: ModelConfig) -> AudioClassifier | str:
    """Return the classifier for clips of the dataset in `directory`, or the reason for none.

    It knows all categories of the train split, even where fewer are evaluated.
    """
    if clips.data.split == TRAIN:
        return "clips of the train split are evaluated, which the classifier is fitted on"
    try:
        train = open_dataset(directory, TRAIN)
        known = [category for category in train.categories if _has_clips(train, category)]
        lacking = sorted(set(clips.categories) - set(known))
        if lacking:
            return f"the train split has no clips of {', '.join(lacking)}"
        if len(known) < MIN_CATEGORIES:
            return (
                f"the train split has clips of {known[0]} only: a classifier needs two categories"
            )
        chosen = select(train, known, TRAIN_CLIPS)
        description = "reading reference audio of the train split"
        audio = [
            reference_audio(chosen[clip], model)
            for clip in tqdm(range(len(chosen)), desc=description, unit="clip", dynamic_ncols=True)
        ]
    except InputError as error:
        return f"the train split cannot be read: {error}"
    return fit_classifier(audio, chosen.categories, train.clock.sample_rate_hz)


def _has_clips(data: ClipDataset, category: str) -> bool:
    try:
        data.of_category(category)
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class CategoryRow:
    """The clips of one category."""

    accuracy: Estimate
    ceiling: Estimate


@dataclass(frozen=True)
class CategoryReport:
    """How many clips of generated audio were classified as their video's category."""

    accuracy: Estimate
    ceiling: Estimate
    """The same of the clips' reference audio, which the classifier was not fitted on."""
    ceiling_minus_accuracy: Estimate
    """Paired by clips."""
    chance: float
    """Accuracy of guessing: 1 / number of categories."""
    largest_share: float
    """Accuracy of always naming the most frequent category of these clips."""
    categories: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Clips by the category of the video (rows) and the predicted category (columns)."""
    reference_confusion: tuple[tuple[int, ...], ...]
    trained_on: int
    """Number of clips that the classifier was fitted on."""
    by_category: dict[str, CategoryRow]


def evaluate_classification(
    classifier: AudioClassifier,
    predicted: Sequence[str],
    reference_predicted: Sequence[str],
    categories: Sequence[str],
    seed: int,
) -> CategoryReport:
    """Compare predicted categories with those of the videos, all known to the classifier."""
    correct, ceiling = hits(predicted, categories), hits(reference_predicted, categories)
    names = np.array(categories)
    shares = np.unique(names, return_counts=True)[1] / len(names)
    return CategoryReport(
        pooled(correct, share, seed),
        pooled(ceiling, share, seed),
        pooled_difference(ceiling, correct, share, seed),
        1.0 / len(classifier.categories),
        float(shares.max()),
        classifier.categories,
        _confusion(classifier, categories, predicted),
        _confusion(classifier, categories, reference_predicted),
        classifier.trained_on,
        {
            name: CategoryRow(
                *(pooled(counts[names == name], share, seed) for counts in (correct, ceiling))
            )
            for name in sorted(set(categories))
        },
    )


def hits(predicted: Sequence[str], categories: Sequence[str]) -> Float64[np.ndarray, "clips 2"]:
    """Return for each clip 1 where its predicted category is right, and 1."""
    right = np.array(predicted) == np.array(categories)
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)


def _confusion(
    classifier: AudioClassifier, expected: Sequence[str], predicted: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    number = {name: index for index, name in enumerate(classifier.categories)}
    table = np.zeros((len(number), len(number)), int)
    for row, column in zip(expected, predicted, strict=True):
        table[number[row], number[column]] += 1
    return tuple(tuple(row) for row in table.tolist())


def save_classifier(path: Path, classifier: AudioClassifier) -> None:
    """Write the parameters to one safetensors file of a few KB."""
    # safetensors writes memory as it is, and scikit-learn's may be column-major.
    arrays = {
        name: np.ascontiguousarray(getattr(classifier, name))
        for name in ("mean", "scale", "weights", "bias")
    }
    metadata = {
        "format": FORMAT,
        "categories": json.dumps(classifier.categories),
        "sample_rate_hz": str(classifier.sample_rate_hz),
        "trained_on": str(classifier.trained_on),
    }
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, metadata=metadata)
