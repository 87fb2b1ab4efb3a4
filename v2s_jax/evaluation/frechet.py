"""Frechet distance of log-mel statistics: is the set of generated waveforms like the reference set?

A waveform is cut into segments of SEGMENT_SEC; each gives the mean and the standard deviation over
time of its mel levels. The distance of two sets of such vectors, with means m and covariances C, is

    d = |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)),  dB^2

(Heusel et al. 2017, arXiv:1706.08500). Covariances are shrunk towards a multiple of the identity
with the weight of Ledoit and Wolf 2004 (scikit-learn), so that few clips give one of full rank.

d grows as clips get fewer, so it is never shown without a floor: clips are split in two halves A
and B, stratified by category, SPLITS times, and halves of the same size are compared

    generated  generated audio of A with reference audio of B
    floor      reference audio of A with reference audio of B
    noise      level-matched white noise of A with reference audio of B

Generated audio is never compared with the reference audio of its own clips. The mel levels are not
learned features: d is not FAD; compare it with the floor and with other models on the same clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from v2s_jax.evaluation.mel import AUDIO_SCALE, band_levels_db
from v2s_jax.evaluation.statistics import Waveform, plural

SEGMENT_SEC = 0.256
"""Four video frames: long enough for a decay, short enough for eight segments in 2 s."""
SCALE = AUDIO_SCALE._replace(bands=20)
"""Half as many bands as elsewhere: the covariance of 40 numbers can be estimated from few clips."""
SPLITS = 10
"""Random splits in halves; the table shows the range over them."""
MIN_CLIPS = 4
"""Fewest clips: two in each half."""


@dataclass(frozen=True)
class Spread:
    """A distance over all splits."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class FrechetRow:
    """Distances in the square of the vectors' unit; None, with the reason, for too few clips."""

    generated: Spread | None
    floor: Spread | None
    noise: Spread | None
    shrinkage: float | None
    """Mean weight of the identity in the covariances of reference audio, from 0 to 1."""
    clips_each: int
    """Clips in a half."""
    segments_each: float
    """Segments in a half, on average."""
    reason: str | None


class Gaussian:
    """Mean and shrunk covariance of a set of vectors."""

    def __init__(self, vectors: Float64[np.ndarray, "segments values"]) -> None:
        from sklearn.covariance import ledoit_wolf  # extra `eval`

        self.mean = vectors.mean(axis=0)
        self.covariance, self.shrinkage = ledoit_wolf(vectors)


Vectors = Sequence[Float64[np.ndarray, "_ values"]]
"""Vectors of each clip, such as those of `segment_vectors`."""


def evaluate_frechet(
    generated: Vectors, reference: Vectors, noise: Vectors, categories: Sequence[str], seed: int
) -> FrechetRow:
    """Compare the statistics of generated audio, of reference audio, and of noise."""
    half = len(reference) // 2
    if len(reference) < MIN_CLIPS:
        reason = f"{plural(len(reference), 'clip')}: two halves of two need {MIN_CLIPS}"
        return FrechetRow(None, None, None, None, half, 0.0, reason)
    random = np.random.default_rng(seed)
    distances, shrinkages, segments = [], [], []
    for _ in range(SPLITS):
        one, other = _halves(categories, random)
        target = Gaussian(np.concatenate([reference[clip] for clip in other]))
        sets = (np.concatenate([x[clip] for clip in one]) for x in (generated, reference, noise))
        distances.append([distance(Gaussian(vectors), target) for vectors in sets])
        shrinkages.append(target.shrinkage)
        segments.append(sum(len(reference[clip]) for clip in other))
    own, floor, noisy = (
        Spread(float(np.mean(values)), min(values), max(values))
        for values in zip(*distances, strict=True)
    )
    shrinkage, segments_each = float(np.mean(shrinkages)), float(np.mean(segments))
    return FrechetRow(own, floor, noisy, shrinkage, half, segments_each, None)


def _halves(
    categories: Sequence[str], random: np.random.Generator
) -> tuple[Int[np.ndarray, " half"], Int[np.ndarray, " half"]]:
    """Split the clips at random in halves, stratified by category; an odd clip is left out."""
    mixed = random.permutation(len(categories))
    order = mixed[np.argsort(np.array(categories)[mixed], kind="stable")]
    even = order[: len(order) // 2 * 2]
    return even[::2], even[1::2]


def segment_vectors(
    waveform: Waveform, sample_rate_hz: int
) -> Float64[np.ndarray, "segments values"]:
    """Return mean and standard deviation of each band, dB, of each whole segment.

    A waveform shorter than one segment is one.
    """
    levels = band_levels_db(waveform, sample_rate_hz, SCALE).astype(np.float64)
    columns = round(SEGMENT_SEC / SCALE.hop_sec)
    segments = levels.shape[1] // columns
    if not segments:
        segments, columns = 1, levels.shape[1]
    parts = levels[:, : segments * columns].reshape(SCALE.bands, segments, columns)
    return np.concatenate([parts.mean(axis=2), parts.std(axis=2)]).T


def distance(one: Gaussian, other: Gaussian) -> float:
    """Return the Frechet distance of two Gaussians.

    The trace of (C1 C2)^(1/2) is that of (R C2 R)^(1/2) with R = C1^(1/2). It is symmetric, so
    its eigenvalues are real, where a general matrix square root may turn complex.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    trace = np.trace(one.covariance) + np.trace(other.covariance)
    trace -= 2.0 * np.sum(np.sqrt(np.maximum(product, 0.0)))
    return float(max(np.sum((one.mean - other.mean) ** 2) + trace, 0.0))
