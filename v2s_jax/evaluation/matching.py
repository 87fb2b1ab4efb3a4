"""Matching of onsets with events, and pairings of clips for the negative controls.

    precision = matched / onsets    recall = matched / events    F1 = 2 matched / (onsets + events)

of counts summed over clips. A share of nothing is 0, as in mir_eval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64
from scipy.optimize import linear_sum_assignment

from v2s_jax.evaluation.statistics import share

MS_PER_SEC = 1_000.0
WINDOWS_SEC = (0.025, 0.050, 0.100)
"""Half-widths within which an onset and an event may match."""
MAX_WINDOW_SEC = WINDOWS_SEC[-1]
"""Window whose matched pairs give the timing errors."""
MAX_DERANGEMENTS = 20
"""Pairings of the shuffled control, fewer when there are fewer clips."""

Times = Float64[np.ndarray, " _"]
"""Times of one clip in seconds from its start."""


class Counts(NamedTuple):
    """What one or more clips add to a score; fractional where pairings were averaged."""

    matched: float
    events: float
    onsets: float


class Matching(NamedTuple):
    """How the onsets of some clips match their events."""

    counts: Float64[np.ndarray, "clips windows 3"]
    """`Counts` of each clip within each of WINDOWS_SEC, averaged over a control's pairings."""
    errors_sec: Float64[np.ndarray, " matched"]
    """Onset minus event of the pairs matched within the widest window, of all pairings."""

    def pooled(self, window: int) -> Counts:
        """Return the sums over clips within WINDOWS_SEC[window]."""
        return Counts(*self.counts[:, window].sum(axis=0).tolist())


def match(
    events_sec: Float64[np.ndarray, " events"],
    onsets_sec: Float64[np.ndarray, " onsets"],
    window_sec: float,
) -> Counts:
    """Count the largest one-to-one matching of pairs at most `window_sec` apart."""
    from mir_eval.util import match_events  # extra `eval`

    pairs = match_events(events_sec, onsets_sec, window_sec)
    return Counts(float(len(pairs)), float(len(events_sec)), float(len(onsets_sec)))


def timing_errors(
    events_sec: Float64[np.ndarray, " events"],
    onsets_sec: Float64[np.ndarray, " onsets"],
    window_sec: float,
) -> Float64[np.ndarray, " matched"]:
    """Return onset minus event, in seconds, of the matched pairs; late is positive.

    Of several largest matchings it is the one with the smallest sum of absolute errors.
    """
    error = onsets_sec[None, :] - events_sec[:, None]
    near = np.abs(error) <= window_sec
    too_far = window_sec * (min(error.shape) + 1)  # costs more than any set of near pairs
    rows, columns = linear_sum_assignment(np.where(near, np.abs(error), too_far))
    return error[rows, columns][near[rows, columns]]


def f1(counts: Float64[np.ndarray, "*many 3"]) -> Float64[np.ndarray, "*many"]:
    """Return F1 of each row of `Counts`: the harmonic mean of precision and recall."""
    return share(np.stack([2.0 * counts[..., 0], counts[..., 1] + counts[..., 2]], axis=-1))


def precision(counts: Counts) -> float:
    """Return the share of the onsets that match an event."""
    return float(share(np.array([counts.matched, counts.onsets], np.float64)))


def recall(counts: Counts) -> float:
    """Return the share of the events that match an onset."""
    return float(share(np.array([counts.matched, counts.events], np.float64)))


def match_clips(events_sec: Sequence[Times], onsets_sec: Sequence[Times]) -> Matching:
    """Match each clip's events with the onsets of the same clip."""
    pairs = list(zip(events_sec, onsets_sec, strict=True))
    counts = [[match(*pair, window_sec) for window_sec in WINDOWS_SEC] for pair in pairs]
    errors = [timing_errors(*pair, MAX_WINDOW_SEC) for pair in pairs]
    return Matching(np.array(counts, np.float64), np.concatenate(errors))


def match_shuffled(events_sec: Sequence[Times], onsets_sec: Sequence[Times], seed: int) -> Matching:
    """Match each clip's onsets with other clips' events: the score of audio blind to its video.

    Averaged over derangements of at least two clips, which should have one length.
    """
    return average(
        [
            match_clips([events_sec[i] for i in partner], onsets_sec)
            for partner in derangements(len(events_sec), seed)
        ]
    )


def average(matchings: Sequence[Matching]) -> Matching:
    """Return the mean of the counts, and the errors of all."""
    return Matching(
        np.mean([matching.counts for matching in matchings], axis=0),
        np.concatenate([matching.errors_sec for matching in matchings]),
    )


def derangements(clips: int, seed: int) -> list[Int[np.ndarray, " clips"]]:
    """Return permutations without fixed points: `pairing[i]` is the clip that i is paired with.

    They are rotations of one random order, so no two clips meet twice: MAX_DERANGEMENTS of them, or
    as many as there are. One clip has none.
    """
    order = np.random.default_rng(seed).permutation(clips)
    pairings = []
    for turn in range(1, min(MAX_DERANGEMENTS, clips - 1) + 1):
        partner = np.empty_like(order)
        partner[order] = np.roll(order, turn)
        pairings.append(partner)
    return pairings


def derange_within_category(
    categories: Sequence[str], seed: int, *, within: bool
) -> Int64[np.ndarray, " clips"]:
    """Give each clip another one, each used once: the negative control for what a model sees.

    Partners come from its own category if `within`, else from any. A clip without a possible
    partner keeps itself.
    """
    names = np.array(categories if within else [""] * len(categories))
    partner = np.arange(len(names))
    for name in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == name)
        for pairing in derangements(len(members), seed)[:1]:
            partner[members] = members[pairing]
    return partner
