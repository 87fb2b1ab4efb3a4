"""A small audio classifier: does generated audio belong to the category of its video?

    x = [mean, standard deviation, mean |change| over time of each mel level], standardised
    p(category | audio) = softmax(W x + b)

Multinomial logistic regression with an L2 penalty (scikit-learn), fitted in seconds on reference
audio of the train split. Every accuracy is shown with its ceiling, the accuracy on the reference
audio of the evaluated clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from v2s_jax.config import ModelConfig
from v2s_jax.datasets import open_dataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import TRAIN, Selection, reference_audio, select
from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db
from v2s_jax.evaluation.statistics import (
    Audio,
    Estimate,
    Waveform,
    pooled,
    pooled_difference,
    share,
)

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
class FittedClassifier:
    """A linear model that is fitted on standardised vectors."""

    trained_on: int
    """Number of clips."""
    mean: Float64[np.ndarray, " values"]
    scale: Float64[np.ndarray, " values"]
    model: Any
    """A classifier of scikit-learn."""

    @classmethod
    def fit(
        cls,
        model: Any,
        vectors: Float64[np.ndarray, "clips values"],
        categories: Sequence[str],
        min_scale: float,
    ) -> "FittedClassifier":
        """Fit a classifier of scikit-learn; `min_scale` is the least standard deviation."""
        mean, scale = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), min_scale)
        model.fit((vectors - mean) / scale, list(categories))
        return cls(len(vectors), mean, scale, model)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that it knows, sorted."""
        return tuple(self.model.classes_.tolist())

    def classify_all(self, vectors: Float64[np.ndarray, "clips values"]) -> list[str]:
        """Return the most likely category of each clip."""
        return list(map(str, self.model.predict((vectors - self.mean) / self.scale)))


@dataclass(frozen=True)
class AudioClassifier:
    """A regression of the statistics of mel levels."""

    sample_rate_hz: int
    fitted: FittedClassifier

    def classify(self, waveform: Waveform) -> str:
        """Return the most likely category."""
        vector = mel_statistics(waveform, self.sample_rate_hz)
        return self.fitted.classify_all(vector[None])[0]


def mel_statistics(waveform: Waveform, sample_rate_hz: int) -> Float64[np.ndarray, " values"]:
    """Return the input of the classifier for a waveform of any length, all in dB."""
    levels = band_levels_db(waveform, sample_rate_hz, AUDIO_SCALE).astype(np.float64)
    change = np.abs(np.diff(levels, axis=1)).mean(axis=1) if levels.shape[1] > 1 else 0.0
    return np.concatenate(
        [levels.mean(axis=1), levels.std(axis=1), change + np.zeros(AUDIO_SCALE.bands)]
    )


class TrainAudio(NamedTuple):
    """Reference audio that a classifier is fitted on, in the model's levels."""

    audio: Audio
    categories: list[str]
    """Of each waveform: at least two."""
    sample_rate_hz: int


def fit_classifier(train: TrainAudio) -> AudioClassifier:
    """Fit on reference audio; deterministic."""
    from sklearn.linear_model import LogisticRegression  # extra `eval`

    vectors = np.stack([mel_statistics(one, train.sample_rate_hz) for one in train.audio])
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS)
    fitted = FittedClassifier.fit(model, vectors, train.categories, MIN_SCALE_DB)
    return AudioClassifier(train.sample_rate_hz, fitted)


def read_train_audio(directory: str, clips: Selection, model: ModelConfig) -> TrainAudio | str:
    """Return what classifiers of clips of the dataset are fitted on, or the reason for none.

    It has all categories of the train split, even where fewer are evaluated.
    """
    if clips.data.split == TRAIN:
        return "clips of the train split are evaluated, which the classifier is fitted on"
    try:
        train = open_dataset(directory, TRAIN)
        known = [category for category in train.categories if train.has_category(category)]
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
    return TrainAudio(audio, chosen.categories, train.clock.sample_rate_hz)


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
    confusion: list[list[int]]
    """Clips by the category of the video (rows) and the predicted category (columns)."""
    reference_confusion: list[list[int]]
    trained_on: int
    """Number of clips that the classifier was fitted on; 0 of one that needs none."""
    by_category: dict[str, CategoryRow]


def evaluate_classification(
    known: tuple[str, ...],
    trained_on: int,
    predicted: Sequence[str],
    reference_predicted: Sequence[str],
    categories: Sequence[str],
    seed: int,
) -> CategoryReport:
    """Compare predicted categories with those of the videos, all among the known ones."""
    from sklearn.metrics import confusion_matrix  # extra `eval`

    correct, ceiling = hits(predicted, categories), hits(reference_predicted, categories)
    names = np.array(categories)
    by_category = {}
    for name in sorted(set(categories)):
        members = names == name
        accuracies = (pooled(counts[members], share, seed) for counts in (correct, ceiling))
        by_category[name] = CategoryRow(*accuracies)
    return CategoryReport(
        pooled(correct, share, seed),
        pooled(ceiling, share, seed),
        pooled_difference(ceiling, correct, share, seed),
        1.0 / len(known),
        float(np.unique(names, return_counts=True)[1].max() / len(names)),
        known,
        confusion_matrix(categories, predicted, labels=known).tolist(),
        confusion_matrix(categories, reference_predicted, labels=known).tolist(),
        trained_on,
        by_category,
    )


def hits(predicted: Sequence[str], categories: Sequence[str]) -> Float64[np.ndarray, "clips 2"]:
    """Return for each clip 1 where its predicted category is right, and 1."""
    right = np.array(predicted) == np.array(categories)
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)
