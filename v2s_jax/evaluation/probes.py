"""Scores on two probes of the synthetic dataset, whose clips differ in one cause only.

Counterfactual pairs look the same and move differently. Generated audio follows its own video
where it fits that video's events better than those of its counterpart:

    follow rate = (clips that follow + 1/2 ties) / clips       chance: 1/2

once by the F1 of onsets (within the widest window), once by the correlation of loudness with the
reference audio of the own video and of its counterpart.

In the delay probe the sound is late by distance / 343 m/s. A clip's delay is the shift at which
its onsets best fit the times at which its events are visible; the slope of delay over distance, by
Theil and Sen's median of pairwise slopes with Sen's interval (SciPy), should be 1/343 s/m. A
median, because a rhythm may fit as well one beat later, which is a gross error.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float64
from scipy.stats import theilslopes

from v2s_jax.evaluation.clips import ReferenceClips
from v2s_jax.evaluation.onsets import MAX_WINDOW_SEC, Times, detect_onsets, f1, match
from v2s_jax.evaluation.statistics import (
    CONFIDENCE,
    MIN_CLIPS,
    Audio,
    Estimate,
    missing,
    plural,
    pooled,
    share,
    too_few,
)
from v2s_jax.evaluation.synchrony import compare_envelopes, envelope, median_ms

FOLLOW_PROBE, DELAY_PROBE = "counterfactual", "delay"
"""Names of the probes, as in `v2s prepare synthetic --probe`."""
SPEED_OF_SOUND_M_SEC = 343.0
"""In air at 20 degrees Celsius, as in the probe."""
DELAYS_SEC = (-0.1, 0.8)
"""Range of delays that are tried. Those of the probe are 0.014 to 0.598 s; the margin leaves room
for a model to be wrong."""
DELAY_STEP_SEC = 0.004
"""The time grid of the onset detector."""
FIT_SEC = 0.025
"""Standard deviation of the Gaussian weight of an onset near a shifted event: the narrowest
matching window."""
CLIP_NAME = re.compile(r"(.*-)(\d+)")
Score = TypeVar("Score")

TIE = 0.5
"""Points of a clip that fits both videos equally well, or neither."""
NO_PAIR = "no clip has a counterpart"
NO_EVENTS = "no clip with a counterpart has events"
EQUAL_DELAYS = "too many equal delays for Sen's interval"


@dataclass(frozen=True)
class FollowRate:
    """How often audio follows its own video rather than the counterpart."""

    by_onsets: Estimate
    ties_by_onsets: int
    """Clips that fit both videos equally well, or neither; each counts one half."""
    by_loudness: Estimate
    ties_by_loudness: int
    pairs: int
    pairs_with_events: int
    """Those that `by_onsets` rests on: water has no onsets that could follow."""


@dataclass(frozen=True)
class ProbeResult(Generic[Score]):
    """Scores on one probe by category and of all clips, or the reason why there are none."""

    reason: str | None
    by_category: dict[str, Score]


@dataclass(frozen=True)
class DelaySlope:
    """How the delay of audio grows with distance."""

    sec_per_m: Estimate
    """Slope, with its 95 % interval."""
    expected_sec_per_m: float
    intercept_sec: float | None
    median_error_ms: float | None
    """Measured minus true delay; late is positive."""
    within_window: Estimate
    """Share of the clips whose measured delay is within the widest window of the true one."""


def evaluate_probe(
    probe: str,
    evaluate: Callable[[Audio, ReferenceClips], Score],
    audio: Audio,
    clips: ReferenceClips,
) -> ProbeResult[Score]:
    """Evaluate `audio`, one waveform for each clip, if the dataset was made for this probe."""
    if clips.probe != probe:
        command = f"v2s prepare synthetic --probe {probe}"
        return ProbeResult(f"{clips.data_name} is not that probe: make one with `{command}`", {})
    scores = {
        category: evaluate([audio[clip] for clip in members], clips.subset(members))
        for category, members in clips.groups.items()
    }
    return ProbeResult(None, scores)


def counterfactual_pairs(clip_ids: Sequence[str]) -> list[tuple[int, int]]:
    """Return the indices of clips that are a pair: numbers 2k and 2k + 1 of one name.

    `drum-test-00004` and `drum-test-00005` are a pair, if both are there.
    """
    indices = {name: index for index, name in enumerate(clip_ids)}
    pairs = []
    for name, index in indices.items():
        parts = CLIP_NAME.fullmatch(name)
        if parts and int(parts[2]) % 2 == 0:
            counterpart = f"{parts[1]}{int(parts[2]) + 1:0{len(parts[2])}d}"
            if counterpart in indices:
                pairs.append((index, indices[counterpart]))
    return pairs


def follow_rate(audio: Audio, clips: ReferenceClips) -> FollowRate:
    """Score audio of counterfactual pairs; the reference audio itself gives the ceiling.

    The interval is over pairs.
    """
    pairs = counterfactual_pairs(clips.clip_ids)
    if not pairs:
        return FollowRate(missing(NO_PAIR), 0, missing(NO_PAIR), 0, 0, 0)
    events_sec = clips.events_sec
    assert events_sec is not None
    rate_hz = clips.config.clock.sample_rate_hz
    paired = [clip for pair in pairs for clip in pair]
    onsets = {clip: detect_onsets(audio[clip], rate_hz) for clip in paired}
    loudness = {clip: envelope(audio[clip], rate_hz) for clip in paired}
    reference_loudness = {clip: envelope(clips.audio[clip], rate_hz) for clip in paired}

    def onset_fit(clip: int, video: int) -> float:
        return float(f1(np.array(match(events_sec[video], onsets[clip], MAX_WINDOW_SEC))))

    def loudness_fit(clip: int, video: int) -> float:
        agreement = compare_envelopes(loudness[clip], reference_loudness[video])
        return 0.0 if agreement is None else agreement.correlation

    with_events = [pair for pair in pairs if any(events_sec[clip].size for clip in pair)]
    by_onsets, by_loudness = _points(onset_fit, with_events), _points(loudness_fit, pairs)
    return FollowRate(
        _rate(by_onsets, clips.seed),
        int(np.sum(by_onsets == TIE)),
        _rate(by_loudness, clips.seed),
        int(np.sum(by_loudness == TIE)),
        len(pairs),
        len(with_events),
    )


def _points(
    fit: Callable[[int, int], float], pairs: Sequence[tuple[int, int]]
) -> Float64[np.ndarray, "pairs 2"]:
    """Return 1 for each clip that fits its own video better than the other, 0 if worse, or TIE."""
    gains = [
        [fit(clip, clip) - fit(clip, other) for clip, other in ((a, b), (b, a))] for a, b in pairs
    ]
    return TIE + 0.5 * np.sign(np.array(gains).reshape(-1, 2))


def _rate(points: Float64[np.ndarray, "pairs 2"], seed: int) -> Estimate:
    if not len(points):
        return missing(NO_EVENTS)
    counts = np.stack([points.sum(axis=1), np.full(len(points), 2.0)], axis=1)
    rate = pooled(counts, share, seed)
    few = len(points) < MIN_CLIPS
    return replace(rate, reason=too_few(len(points), "pair")) if few else rate


def delay_slope(audio: Audio, clips: ReferenceClips) -> DelaySlope:
    """Return how the delay of audio grows with the distance of what is visible.

    Clips without events or without onsets are left out.
    """
    assert clips.labels is not None
    known = []
    for waveform, label in zip(audio, clips.labels, strict=True):
        visible_sec = label.events_sec - label.state["delay_sec"]
        onsets_sec = detect_onsets(waveform, clips.config.clock.sample_rate_hz)
        delay_sec = best_delay_sec(visible_sec, onsets_sec)
        if delay_sec is not None:
            known.append((label.state["distance_m"], delay_sec))
    expected = 1.0 / SPEED_OF_SOUND_M_SEC
    if len({distance for distance, _ in known}) < MIN_CLIPS:
        reason = (
            f"{plural(len(known), 'clip')} with onsets: a slope needs {MIN_CLIPS} at different "
            "distances"
        )
        nothing = missing(reason, len(known))
        return DelaySlope(nothing, expected, None, None, nothing)
    distances_m, delays_sec = np.array(known).T
    with np.errstate(invalid="ignore"):
        slope, intercept, low, high = map(
            float, theilslopes(delays_sec, distances_m, alpha=CONFIDENCE)
        )
    sec_per_m = Estimate(slope, low, high, len(known), None)
    if np.isnan([low, high]).any():
        sec_per_m = Estimate(slope, None, None, len(known), EQUAL_DELAYS)
    errors_sec = delays_sec - distances_m * expected
    near = np.stack([np.abs(errors_sec) <= MAX_WINDOW_SEC, np.ones(len(known))], axis=1)
    within_window = pooled(near, share, clips.seed)
    return DelaySlope(sec_per_m, expected, intercept, median_ms(errors_sec), within_window)


def best_delay_sec(visible_sec: Times, onsets_sec: Times) -> float | None:
    """Return the shift of the events at which most onsets are near one; None where none is.

    The best shift of a grid, the smallest of equally good ones, refined to the weighted mean of
    the onsets near it.
    """
    if not (visible_sec.size and onsets_sec.size):
        return None
    shifts = np.arange(DELAYS_SEC[0], DELAYS_SEC[1] + DELAY_STEP_SEC / 2, DELAY_STEP_SEC)
    delays = (onsets_sec[None, :] - visible_sec[:, None]).ravel()
    weights = np.exp(-0.5 * ((delays[None, :] - shifts[:, None]) / FIT_SEC) ** 2)
    best = int(np.argmax(weights.sum(axis=1)))
    if weights[best].max() < np.exp(-0.5):  # none within a standard deviation
        return None
    return float(np.average(delays, weights=weights[best]))
