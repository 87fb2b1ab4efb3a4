"""A small classifier of sounds: does a generated sound belong to its video's category?

    x = [mean, standard deviation, mean |change| over time of each mel level], standardised
    p(category | sound) = softmax(W x + b)

Multinomial logistic regression with an L2 penalty (scikit-learn), trained on true sounds alone, in
seconds: on the train split of the data that is evaluated. Its ceiling, the accuracy on the true
sounds of the evaluated clips, stands beside every number, and tells where it does not fit.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from v2s_jax.errors import InputError
from v2s_jax.evaluation.estimate import (
    Estimate,
    check_categories,
    check_pairs,
    pooled,
    pooled_difference,
    share_of,
)
from v2s_jax.evaluation.mel import SOUND, band_levels_db
from v2s_jax.io import atomic_write

FORMAT = "v2s_jax sound classifier 2"
INVERSE_PENALTY = 0.1
"""scikit-learn's C. Five-fold cross-validation on 300 sounds of the synthetic train split gave
accuracies of 0.917 for 0.001, 0.960 for 0.01, 0.983 for 0.1, 0.987 for 1 and for 10: this is the
strongest penalty that costs next to nothing, since generated sounds lie further out than true ones.
"""
MAX_ITERATIONS = 1_000
LEAST_SCALE_DB = 0.1
"""Standard deviations below it are taken as this: a band that is always silent is constant."""


@dataclass(frozen=True)
class SoundClassifier:
    """Parameters of the classifier; what it knows are `categories`."""

    categories: tuple[str, ...]
    sample_rate_hz: int
    trained_on: int
    """Number of sounds."""
    mean: Float64[np.ndarray, " values"]
    scale: Float64[np.ndarray, " values"]
    weights: Float64[np.ndarray, "categories values"]
    bias: Float64[np.ndarray, " categories"]

    def probabilities(
        self, sounds: Sequence[Float32[np.ndarray, " _"]]
    ) -> Float64[np.ndarray, "sounds categories"]:
        """Return the probability of each category for each sound."""
        x = np.stack([statistics(waveform, self.sample_rate_hz) for waveform in sounds])
        scores = (x - self.mean) / self.scale @ self.weights.T + self.bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def classify(self, sounds: Sequence[Float32[np.ndarray, " _"]]) -> list[str]:
        """Return the likeliest category of each sound."""
        return [self.categories[best] for best in self.probabilities(sounds).argmax(axis=1)]


def statistics(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
) -> Float64[np.ndarray, " values"]:
    """Return what the classifier reads of a sound of any length, all in dB."""
    levels = band_levels_db(waveform, sample_rate_hz, SOUND).astype(np.float64)
    change = np.abs(np.diff(levels, axis=1)).mean(axis=1) if levels.shape[1] > 1 else 0.0
    return np.concatenate([levels.mean(axis=1), levels.std(axis=1), change + np.zeros(SOUND.bands)])


def fit_classifier(
    sounds: Sequence[Float32[np.ndarray, " _"]], categories: Sequence[str], sample_rate_hz: int
) -> SoundClassifier:
    """Train on true sounds, in the model's levels, and their categories; deterministic.

    Raises InputError for fewer than two categories.
    """
    check_categories(categories, sounds)
    known = tuple(sorted(set(categories)))
    if len(known) < 2:
        raise InputError(
            f"sounds of {len(known)} category to train the classifier on: it needs 2 or more; "
            "evaluate a data set that has them, all in its train split"
        )
    x = np.stack([statistics(waveform, sample_rate_hz) for waveform in sounds])
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), LEAST_SCALE_DB)
    regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS)
    regression.fit((x - mean) / scale, [known.index(name) for name in categories])
    weights, bias = regression.coef_, regression.intercept_
    if len(known) == 2:  # scikit-learn keeps the second one's log odds alone
        weights, bias = np.concatenate([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
    return SoundClassifier(known, sample_rate_hz, len(sounds), mean, scale, weights, bias)


class CategoryRow(NamedTuple):
    """The clips of one category."""

    accuracy: Estimate
    ceiling: Estimate


@dataclass(frozen=True)
class CategoryReport:
    """How many generated sounds were taken for their video's category."""

    accuracy: Estimate
    ceiling: Estimate
    """The same of the clips' true sounds, which the classifier has not seen."""
    ceiling_minus_accuracy: Estimate
    """Paired by clips."""
    chance: float
    """What guessing gets: 1 / number of categories."""
    largest_share: float
    """What always naming the most frequent category of these clips gets."""
    categories: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Generated sounds, by the category of the video (rows) and of the sound (columns)."""
    true_confusion: tuple[tuple[int, ...], ...]
    trained_on: int
    """Number of sounds that the classifier has seen."""
    by_category: dict[str, CategoryRow]


def category_accuracy(
    classifier: SoundClassifier,
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    categories: Sequence[str],
    seed: int,
) -> CategoryReport:
    """Classify generated and true sounds, of clips that the classifier was not trained on.

    Raises InputError unless there is one sound of each kind, of one length, and a category that the
    classifier knows for every clip.
    """
    check_pairs(generated, true)
    check_categories(categories, true)
    unknown = sorted(set(categories) - set(classifier.categories))
    if unknown:
        raise InputError(
            f"category {', '.join(unknown)}: the classifier knows "
            f"{', '.join(classifier.categories)}: train it on a split that has all of them"
        )
    made, real = classifier.classify(generated), classifier.classify(true)
    return category_report(classifier, made, real, categories, seed)


def category_report(
    classifier: SoundClassifier,
    taken_for: Sequence[str],
    true_taken_for: Sequence[str],
    categories: Sequence[str],
    seed: int,
) -> CategoryReport:
    """Count what sounds were taken for; the classifier knows all `categories`."""
    found, ceiling = hits(taken_for, categories), hits(true_taken_for, categories)
    names = np.array(categories)
    shares = np.unique(names, return_counts=True)[1] / len(names)
    return CategoryReport(
        pooled(found, share_of, seed),
        pooled(ceiling, share_of, seed),
        pooled_difference(ceiling, found, share_of, seed),
        1.0 / len(classifier.categories),
        float(shares.max()),
        classifier.categories,
        _confusion(classifier, categories, taken_for),
        _confusion(classifier, categories, true_taken_for),
        classifier.trained_on,
        {
            name: CategoryRow(
                *(pooled(counts[names == name], share_of, seed) for counts in (found, ceiling))
            )
            for name in sorted(set(categories))
        },
    )


def hits(taken_for: Sequence[str], categories: Sequence[str]) -> Float64[np.ndarray, "clips 2"]:
    """Return for each clip 1 where its sound was taken for its category, and 1."""
    right = np.array(taken_for) == np.array(categories)
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)


def _confusion(
    classifier: SoundClassifier, wanted: Sequence[str], found: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    number = {name: place for place, name in enumerate(classifier.categories)}
    table = np.zeros((len(number), len(number)), int)
    for one, other in zip(wanted, found, strict=True):
        table[number[one], number[other]] += 1
    return tuple(tuple(row) for row in table.tolist())


def save_classifier(path: Path, classifier: SoundClassifier) -> None:
    """Write the parameters to one safetensors file of a few KB."""
    # safetensors writes the memory as it lies, and scikit-learn's may lie columns first.
    arrays = {name: np.ascontiguousarray(getattr(classifier, name)) for name in PARAMETERS}
    metadata = {
        "format": FORMAT,
        "categories": json.dumps(classifier.categories),
        "sample_rate_hz": str(classifier.sample_rate_hz),
        "trained_on": str(classifier.trained_on),
    }
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, metadata=metadata)


PARAMETERS = ("mean", "scale", "weights", "bias")


def load_classifier(path: Path) -> SoundClassifier:
    """Read what `save_classifier` wrote; raises InputError for anything else."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable classifier ({error}): train it again") from error
    if metadata.get("format") != FORMAT or set(arrays) != set(PARAMETERS):
        raise InputError(f"{path}: holds no {FORMAT}: train it again")
    return SoundClassifier(
        tuple(json.loads(metadata["categories"])),
        int(metadata["sample_rate_hz"]),
        int(metadata["trained_on"]),
        **arrays,
    )
