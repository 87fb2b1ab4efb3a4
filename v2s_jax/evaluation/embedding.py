"""Generated audio in a pretrained embedding: distance of distributions, and category accuracy.

Both have their ceilings from reference audio of other clips. The Frechet distance is that of
`frechet.py` over the vectors of all blocks; the category is that of a ridge regression of the mean
vector of a clip, fitted on reference audio of the train split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from v2s_jax.evaluation.aisfx import Aisfx, Vectors, mean_vectors
from v2s_jax.evaluation.classifier import (
    CategoryReport,
    FittedClassifier,
    TrainAudio,
    evaluate_classification,
)
from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.frechet import FrechetRow, evaluate_frechet
from v2s_jax.evaluation.measurement import NOISE, REFERENCE

PENALTIES = tuple(np.logspace(0, 5, 11).tolist())
"""Of the ridge regression; the one with the least error when each clip is left out is used."""
MIN_SCALE = 1e-3
"""Lower bound of the standard deviations: a channel may never be active."""


@dataclass(frozen=True)
class EmbeddingMetrics:
    """Metrics of one set of waveforms."""

    frechet: FrechetRow
    """Of all clips, in the square of the embedding's unit."""
    classification: CategoryReport | None


@dataclass(frozen=True)
class EmbeddingResults:
    """Metrics of all models and controls."""

    file: str
    sha256: str
    metrics: dict[str, EmbeddingMetrics]
    """Of each model, then of each control."""
    no_classifier: str | None
    """Why no regression could be fitted."""


def fit_head(embedding: Aisfx, train: TrainAudio) -> FittedClassifier:
    """Fit the regression on reference audio; deterministic."""
    from sklearn.linear_model import RidgeClassifierCV  # extra `eval`

    vectors = embedding.embed_all(train.audio, train.sample_rate_hz, "the train split")
    head = RidgeClassifierCV(PENALTIES)
    return FittedClassifier.fit(head, mean_vectors(vectors), train.categories, MIN_SCALE)


def evaluate_embedding(
    embedding: Aisfx,
    head: FittedClassifier | str,
    vectors: Mapping[str, Sequence[Vectors]],
    clips: ReferenceClips,
) -> EmbeddingResults:
    """Return the metrics of each set of vectors.

    Args:
        embedding: What made the vectors.
        head: The regression, or why there is none.
        vectors: Vectors of each clip by the name of the model or control; both controls are there.
        clips: The clips.
    """
    known = None if isinstance(head, str) else head
    predicted = {
        name: known.classify_all(mean_vectors(of_set)) for name, of_set in vectors.items() if known
    }

    def classification(name: str) -> CategoryReport | None:
        if known is None:
            return None
        named = predicted[name], predicted[REFERENCE]
        fitted = known.categories, known.trained_on
        return evaluate_classification(*fitted, *named, clips.categories, clips.seed)

    def metrics(name: str) -> EmbeddingMetrics:
        sets = vectors[name], vectors[REFERENCE], vectors[NOISE]
        frechet = evaluate_frechet(*sets, clips.categories, clips.seed)
        return EmbeddingMetrics(frechet, classification(name))

    return EmbeddingResults(
        embedding.path.name,
        embedding.sha256,
        {name: metrics(name) for name in vectors},
        head if isinstance(head, str) else None,
    )
