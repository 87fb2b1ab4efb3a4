"""Scores on two probes of the synthetic set, whose clips differ in one cause alone.

Counterfactual pairs look alike and move otherwise. A generated sound follows its own video where
it fits that video's events better than its twin's:

    follow rate = (clips that follow + 1/2 clips that cannot be told) / clips       chance: 1/2

once by the F1 of onsets (within the widest window), once by the correlation of loudness with the
own and with the twin's true sound.

In the delay probe the sound is late by distance / 343 m/s. A clip's delay is the shift at which
the onsets of its sound best fit the times at which its events are seen; the slope of delay over
distance, by Theil and Sen's median of pairwise slopes with Sen's interval (SciPy), should be
1/343 s/m. A median, because a rhythm may fit as well one beat later, which is a gross error.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64
from scipy.stats import theilslopes

from v2s_jax.errors import InputError
from v2s_jax.evaluation.bootstrap import CONFIDENCE
from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.envelope import agreement, envelope
from v2s_jax.evaluation.estimate import (
    LEAST_CLIPS,
    Estimate,
    check_pairs,
    missing,
    pooled,
    share_of,
    too_few,
)
from v2s_jax.evaluation.sync import MS_PER_SEC, WIDEST_WINDOW_SEC, f1, match

SPEED_OF_SOUND_M_SEC = 343.0
"""In air at 20 degrees Celsius, as the probe has it."""
DELAYS_SEC = (-0.1, 0.8)
"""Delays that are looked at. Those of the probe are 0.014 to 0.598 s; below 0, and above, there is
room for a model to be wrong."""
DELAY_STEP_SEC = 0.004
"""The grid of the detector's times."""
FIT_SEC = 0.025
"""Deviation of the Gaussian by which an onset near a shifted event counts: the narrowest window of
the matching."""
CLIP_NAME = re.compile(r"(.*-)(\d+)")

ALONE = "no clip has a twin"
UNEVENTFUL = "no clip that has a twin has events"
EQUAL = "so many delays are equal that Sen's interval does not exist"


@dataclass(frozen=True)
class FollowRate:
    """How often sounds follow their own video rather than its twin."""

    by_onsets: Estimate
    untold_by_onsets: int
    """Clips that fit both videos equally well, or neither; each counts one half."""
    by_loudness: Estimate
    untold_by_loudness: int
    pairs: int
    pairs_with_events: int
    """Those that `by_onsets` rests on: water has no onsets that could follow."""


@dataclass(frozen=True)
class DelaySlope:
    """How the delay of a sound grows with distance."""

    sec_per_m: Estimate
    """Slope, with its 95 % interval."""
    expected_sec_per_m: float
    intercept_sec: float | None
    median_error_ms: float | None
    """Found minus true delay; late is positive."""
    within_window: Estimate
    """Share of the clips whose delay is found within the widest window of the true one."""


def counterfactual_pairs(clip_ids: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of clips that are a pair: numbers 2k and 2k + 1 of one name.

    `drum-test-00004` and `drum-test-00005` are twins; a clip whose twin is not there has no pair.
    """
    places = {name: place for place, name in enumerate(clip_ids)}
    pairs = []
    for name, place in places.items():
        found = CLIP_NAME.fullmatch(name)
        if found and int(found[2]) % 2 == 0:
            twin = f"{found[1]}{int(found[2]) + 1:0{len(found[2])}d}"
            if twin in places:
                pairs.append((place, places[twin]))
    return pairs


def follow_rate(
    clip_ids: Sequence[str],
    sounds: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    events_sec: Sequence[Float64[np.ndarray, " _"]],
    sample_rate_hz: int,
    seed: int,
) -> FollowRate:
    """Score `sounds` of counterfactual pairs; with `true` in their place it gives the ceiling.

    The interval is over pairs. Raises InputError unless there is a sound, a true sound of its
    length, and a list of events for every clip.
    """
    check_pairs(sounds, true)
    _check_lists(clip_ids, sounds, events_sec)
    pairs = counterfactual_pairs(clip_ids)
    if not pairs:
        return FollowRate(missing(ALONE), 0, missing(ALONE), 0, 0, 0)
    heard = {clip: onsets(sounds[clip], sample_rate_hz) for pair in pairs for clip in pair}
    loudness = {clip: envelope(sounds[clip], sample_rate_hz) for pair in pairs for clip in pair}
    of_true = {clip: envelope(true[clip], sample_rate_hz) for pair in pairs for clip in pair}

    def by_onsets(clip: int, video: int) -> float:
        return f1(match(events_sec[video], heard[clip], WIDEST_WINDOW_SEC))

    def by_loudness(clip: int, video: int) -> float:
        found = agreement(loudness[clip], of_true[video])
        return 0.0 if found is None else found.correlation

    def points(
        fits: Callable[[int, int], float], pairs: Sequence[tuple[int, int]]
    ) -> Float64[np.ndarray, "pairs 2"]:
        both = [((one, other), (other, one)) for one, other in pairs]
        fit_better = [[fits(clip, clip) - fits(clip, twin) for clip, twin in pair] for pair in both]
        return 0.5 + 0.5 * np.sign(np.array(fit_better).reshape(-1, 2))

    eventful = [pair for pair in pairs if any(events_sec[clip].size for clip in pair)]
    onset_points, loudness_points = points(by_onsets, eventful), points(by_loudness, pairs)
    return FollowRate(
        _rate(onset_points, seed),
        int(np.sum(onset_points == 0.5)),
        _rate(loudness_points, seed),
        int(np.sum(loudness_points == 0.5)),
        len(pairs),
        len(eventful),
    )


def _rate(points: Float64[np.ndarray, "pairs 2"], seed: int) -> Estimate:
    if not len(points):
        return missing(UNEVENTFUL)
    counts = np.stack([points.sum(axis=1), np.full(len(points), 2.0)], axis=1)
    rate = pooled(counts, share_of, seed)
    few = len(points) < LEAST_CLIPS
    return replace(rate, reason=too_few(len(points), "pair")) if few else rate


def delay_slope(
    sounds: Sequence[Float32[np.ndarray, " _"]],
    seen_sec: Sequence[Float64[np.ndarray, " _"]],
    distances_m: Sequence[float],
    sample_rate_hz: int,
    seed: int,
) -> DelaySlope:
    """Return how the delay of sounds grows with the distance of what is seen.

    `seen_sec` are the times at which events are seen, before any delay. Clips without events or
    without onsets are left out. Raises InputError unless all lists are of one length.
    """
    _check_lists(sounds, seen_sec, distances_m)
    delays = [
        best_delay_sec(seen, onsets(waveform, sample_rate_hz))
        for seen, waveform in zip(seen_sec, sounds, strict=True)
    ]
    known = [
        (distance, delay)
        for distance, delay in zip(distances_m, delays, strict=True)
        if delay is not None
    ]
    expected = 1.0 / SPEED_OF_SOUND_M_SEC
    if len({distance for distance, _ in known}) < LEAST_CLIPS:
        reason = (
            f"{len(known)} clip{'' if len(known) == 1 else 's'} with onsets: a slope needs "
            f"{LEAST_CLIPS} at different distances"
        )
        nothing = missing(reason, len(known))
        return DelaySlope(nothing, expected, None, None, nothing)
    distance_m, delay_sec = np.array(known).T
    with np.errstate(invalid="ignore"):
        slope, intercept, low, high = theilslopes(delay_sec, distance_m, alpha=CONFIDENCE)
    errors_sec = delay_sec - distance_m * expected
    near = np.stack([np.abs(errors_sec) <= WIDEST_WINDOW_SEC, np.ones(len(known))], axis=1)
    if np.isnan([low, high]).any():
        sec_per_m = Estimate(float(slope), None, None, len(known), EQUAL)
    else:
        sec_per_m = Estimate(float(slope), float(low), float(high), len(known), None)
    return DelaySlope(
        sec_per_m,
        expected,
        float(intercept),
        float(MS_PER_SEC * np.median(errors_sec)),
        pooled(near, share_of, seed),
    )


def best_delay_sec(
    seen_sec: Float64[np.ndarray, " events"], onsets_sec: Float64[np.ndarray, " onsets"]
) -> float | None:
    """Return the shift of the events at which most onsets lie near one; None where none does.

    The best shift of a grid, the smallest of equally good ones, and then the mean of what lies
    near it.
    """
    if not (seen_sec.size and onsets_sec.size):
        return None
    shifts = np.arange(DELAYS_SEC[0], DELAYS_SEC[1] + DELAY_STEP_SEC / 2, DELAY_STEP_SEC)
    apart = (onsets_sec[None, :] - seen_sec[:, None]).ravel()
    nearness = np.exp(-0.5 * ((apart[None, :] - shifts[:, None]) / FIT_SEC) ** 2)
    best = int(np.argmax(nearness.sum(axis=1)))
    if nearness[best].max() < np.exp(-0.5):  # none within a deviation
        return None
    return float(np.average(apart, weights=nearness[best]))


def _check_lists(*lists: Sequence[object]) -> None:
    counts = {len(one) for one in lists}
    if len(counts) != 1:
        raise InputError(
            f"lists of {', '.join(str(len(one)) for one in lists)} clips: give one entry of each "
            "for every clip"
        )
