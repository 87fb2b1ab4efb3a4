"""Synchrony: do sounds set in when something is seen to happen?

In: for each clip the times of its events, and the times of the onsets in a sound.
Out: how many match one to one within a window, and by how much the matched ones differ.

    precision = matched / onsets    recall = matched / events    F1 = 2 matched / (onsets + events)

of the counts summed over clips. A share of nothing is 0, as in mir_eval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import mir_eval
import numpy as np
from jaxtyping import Float64, Int
from scipy.optimize import linear_sum_assignment

MS_PER_SEC = 1_000.0
WINDOWS_SEC = (0.025, 0.050, 0.100)
"""Half-widths within which an onset and an event may match."""
WIDEST_WINDOW_SEC = WINDOWS_SEC[-1]
"""Window whose matched pairs give the timing errors, and whose F1 gets an interval."""
DERANGEMENTS = 20
"""Pairings of the shuffled control, fewer when there are fewer clips."""


class Counts(NamedTuple):
    """What one or more clips add to a score; not whole where pairings were averaged."""

    matched: float
    reference: float
    estimated: float


class Synchrony(NamedTuple):
    """How a set of sounds fits a set of events."""

    counts: Float64[np.ndarray, "clips windows 3"]
    """`Counts` of each clip within each of WINDOWS_SEC, averaged over a control's pairings."""
    errors_sec: Float64[np.ndarray, " matched"]
    """Onset minus event of the pairs matched within the widest window, of all pairings."""

    def pooled(self, window: int) -> Counts:
        """Return the sums over clips within WINDOWS_SEC[window]."""
        return Counts(*self.counts[:, window].sum(axis=0).tolist())


def match(
    reference: Float64[np.ndarray, " events"],
    estimated: Float64[np.ndarray, " onsets"],
    window_sec: float,
) -> Counts:
    """Count the largest one-to-one matching of pairs at most `window_sec` apart."""
    pairs = mir_eval.util.match_events(reference, estimated, window_sec)
    return Counts(float(len(pairs)), float(len(reference)), float(len(estimated)))


def timing_errors(
    reference: Float64[np.ndarray, " events"],
    estimated: Float64[np.ndarray, " onsets"],
    window_sec: float,
) -> Float64[np.ndarray, " matched"]:
    """Return estimated minus reference, in seconds, of the matched pairs; late is positive.

    There may be several largest matchings, of which `match` counts any; here it is the one with
    the least sum of absolute errors.
    """
    error = estimated[None, :] - reference[:, None]
    near = np.abs(error) <= window_sec
    one_too_far = window_sec * (min(error.shape) + 1)  # costs more than any set of near pairs
    rows, columns = linear_sum_assignment(np.where(near, np.abs(error), one_too_far))
    return error[rows, columns][near[rows, columns]]


def f1_of(counts: Float64[np.ndarray, "*many 3"]) -> Float64[np.ndarray, "*many"]:
    """Return F1 of each row of `Counts`."""
    return _share(2.0 * counts[..., 0], counts[..., 1] + counts[..., 2])


def f1(counts: Counts) -> float:
    """Return the harmonic mean of precision and recall."""
    return float(f1_of(np.array(counts, np.float64)))


def precision(counts: Counts) -> float:
    """Return the share of the onsets that match an event."""
    return float(_share(np.float64(counts.matched), np.float64(counts.estimated)))


def recall(counts: Counts) -> float:
    """Return the share of the events that match an onset."""
    return float(_share(np.float64(counts.matched), np.float64(counts.reference)))


def _share(part: np.ndarray | np.float64, whole: np.ndarray | np.float64) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def score(
    reference: Sequence[Float64[np.ndarray, " _"]], estimated: Sequence[Float64[np.ndarray, " _"]]
) -> Synchrony:
    """Match each clip's events with the onsets of the sound at the same place."""
    pairs = list(zip(reference, estimated, strict=True))
    counts = [[match(*pair, window_sec) for window_sec in WINDOWS_SEC] for pair in pairs]
    errors = [timing_errors(*pair, WIDEST_WINDOW_SEC) for pair in pairs]
    return Synchrony(np.array(counts, np.float64), np.concatenate(errors))


def score_shuffled(
    reference: Sequence[Float64[np.ndarray, " _"]],
    estimated: Sequence[Float64[np.ndarray, " _"]],
    seed: int,
) -> Synchrony:
    """Match each sound with the events of other clips: what a sound blind to its video would get.

    Averaged over derangements. The clips should be of one length, as those of a synthetic set
    are; there must be at least two.
    """
    return averaged(
        [
            score([reference[i] for i in partner], estimated)
            for partner in derangements(len(reference), seed)
        ]
    )


def averaged(synchronies: Sequence[Synchrony]) -> Synchrony:
    """Return the mean of the counts, and the errors of all."""
    return Synchrony(
        np.mean([each.counts for each in synchronies], axis=0),
        np.concatenate([each.errors_sec for each in synchronies]),
    )


def derangements(clips: int, seed: int) -> list[Int[np.ndarray, " clips"]]:
    """Return pairings in which no clip meets itself: `pairing[i]` is the clip that i meets.

    They are turns of one random order, so no two clips meet twice: `DERANGEMENTS` of them, or as
    many as there are. One clip has none.
    """
    order = np.random.default_rng(seed).permutation(clips)
    pairings = []
    for turn in range(1, min(DERANGEMENTS, clips - 1) + 1):
        partner = np.empty_like(order)
        partner[order] = np.roll(order, turn)
        pairings.append(partner)
    return pairings
