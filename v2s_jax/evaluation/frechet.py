"""Frechet distance of log-mel statistics: do generated sounds, all together, sound like true ones?

A sound is cut into segments of SEGMENT_SEC; each gives the mean and the standard deviation over
time of its mel levels. Two sets of such vectors, with means m and covariances C, are apart by

    d = |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)),  dB^2

(Heusel et al. 2017, arXiv:1706.08500). Covariances are shrunk towards a multiple of the identity
with the weight of Ledoit and Wolf 2004 (scikit-learn), so that few clips give a whole-ranked one.

d grows as clips get fewer, so it is never shown alone: clips are parted in two halves A and B with
as many of each category, SPLITS times, and of the same sizes are compared

    generated  generated sounds of A with true sounds of B
    floor      true sounds of A with true sounds of B
    noise      white noise as loud as the true sounds of A with true sounds of B

Generated sounds never meet the true sounds of their own clips, and floor and distance see equally
many clips. The mel levels are no learned features: d here is no FAD, and is compared with the floor
and with other models on the same clips only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int
from sklearn.covariance import ledoit_wolf

from v2s_jax.evaluation.estimate import check_categories, check_pairs
from v2s_jax.evaluation.mel import SOUND, MelScale, band_levels_db
from v2s_jax.evaluation.spectral import level_matched_noise

SEGMENT_SEC = 0.256
"""Four video frames: long enough for a decay, short enough for eight segments in 2 s."""
SCALE = MelScale(bands=20, window_sec=SOUND.window_sec, hop_sec=0.016, floor_db=SOUND.floor_db)
"""Half as many bands as elsewhere: 40 numbers of a segment, whose covariance few clips can tell."""
SPLITS = 10
"""Partings in halves; the range over them is shown."""
LEAST_CLIPS = 4
"""Fewest clips: two in each half."""


@dataclass(frozen=True)
class Spread:
    """A distance over all partings."""

    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class FrechetRow:
    """Distances in dB^2; None, with the reason, where there are too few clips."""

    generated: Spread | None
    floor: Spread | None
    noise: Spread | None
    shrinkage: float | None
    """Mean weight of the identity in the covariances of true sounds, from 0 to 1."""
    clips_each: int
    """Clips in a half."""
    segments_each: float
    """Segments in a half, on average."""
    reason: str | None


class Gaussian:
    """Mean and shrunk covariance of a set of vectors."""

    def __init__(self, vectors: Float64[np.ndarray, "segments values"]) -> None:
        self.mean = vectors.mean(axis=0)
        self.covariance, self.shrinkage = ledoit_wolf(vectors)


def frechet(
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    categories: Sequence[str],
    sample_rate_hz: int,
    seed: int,
) -> FrechetRow:
    """Compare the statistics of generated and true sounds; `seed` parts the clips.

    Raises InputError unless there is one sound of each kind, of one length, and a category for
    every clip.
    """
    check_pairs(generated, true)
    check_categories(categories, true)
    noise = [level_matched_noise(own, seed) for own in true]
    made, real, loud = (
        [segment_vectors(waveform, sample_rate_hz) for waveform in sounds]
        for sounds in (generated, true, noise)
    )
    return frechet_row(made, real, loud, categories, seed)


Vectors = Sequence[Float64[np.ndarray, "_ values"]]
"""What `segment_vectors` gives of each clip's sound."""


def frechet_row(
    made: Vectors, real: Vectors, noise: Vectors, categories: Sequence[str], seed: int
) -> FrechetRow:
    """Compare the statistics of generated sounds, true ones, and noise."""
    half = len(real) // 2
    if len(real) < LEAST_CLIPS:
        reason = (
            f"{len(real)} clip{'' if len(real) == 1 else 's'}: two halves of two need {LEAST_CLIPS}"
        )
        return FrechetRow(None, None, None, None, half, 0.0, reason)
    random = np.random.default_rng(seed)
    distances, shrinkages, segments = [], [], []
    for _ in range(SPLITS):
        one, other = _halves(categories, random)
        target = Gaussian(np.concatenate([real[clip] for clip in other]))
        sets = (np.concatenate([vectors[clip] for clip in one]) for vectors in (made, real, noise))
        distances.append([distance(Gaussian(vectors), target) for vectors in sets])
        shrinkages.append(target.shrinkage)
        segments.append(sum(len(real[clip]) for clip in other))
    of_made, of_real, of_noise = (
        Spread(float(np.mean(values)), min(values), max(values))
        for values in zip(*distances, strict=True)
    )
    return FrechetRow(
        generated=of_made,
        floor=of_real,
        noise=of_noise,
        shrinkage=float(np.mean(shrinkages)),
        clips_each=half,
        segments_each=float(np.mean(segments)),
        reason=None,
    )


def _halves(
    categories: Sequence[str], random: np.random.Generator
) -> tuple[Int[np.ndarray, " half"], Int[np.ndarray, " half"]]:
    """Part the clips at random, each category as evenly as its number allows.

    Clips in random order within their categories go one here, one there; an odd one is left out.
    """
    mixed = random.permutation(len(categories))
    order = mixed[np.argsort(np.array(categories)[mixed], kind="stable")]
    even = order[: len(order) // 2 * 2]
    return even[::2], even[1::2]


def segment_vectors(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int
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

    The trace of (C1 C2)^(1/2) is that of (R C2 R)^(1/2) with R = C1^(1/2), which is symmetric: its
    eigenvalues are real, and cannot get lost in a complex square root.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    trace = np.trace(one.covariance) + np.trace(other.covariance)
    trace -= 2.0 * np.sum(np.sqrt(np.maximum(product, 0.0)))
    return float(max(np.sum((one.mean - other.mean) ** 2) + trace, 0.0))
