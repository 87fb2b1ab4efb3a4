"""Synchrony: do sounds start when something visible happens? With controls and upper limits.

    own_video       generated audio against its own video
    shuffled_video  the same audio against other videos: the score of audio blind to its video
    shifted_audio   the same audio, rotated within its clip: the right number of onsets at the
                    wrong times
    reference       the reference audio: what the onset detector reaches
    video_frame     an oracle that knows each time to one video frame: what images can tell

Times of events are the reference where they are known; else the onsets of the clip's reference
audio are, and row `reference` is perfect by construction.

Loudness over time is compared with that of the reference audio. It needs no onsets, so it also
scores what has none (water, a helicopter):

    e(k)  = RMS of the waveform over STEP_SEC, at k STEP_SEC
    r(j)  = Pearson correlation of e_generated(k + j) with e_reference(k), where both exist
    lag   = STEP_SEC argmax_j r(j),  |j| STEP_SEC <= MAX_LAG_SEC

A positive lag means late generated audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from v2s_jax.config import Clock
from v2s_jax.evaluation.onsets import (
    MS_PER_SEC,
    WINDOWS_SEC,
    Matching,
    Times,
    average,
    f1,
    match_clips,
    match_shuffled,
)
from v2s_jax.evaluation.statistics import (
    Estimate,
    Waveform,
    mean,
    missing,
    pooled,
    pooled_difference,
)

SHIFT_SHARES = (0.21, 0.37, 0.55, 0.71)
"""Parts of the clip by which the shifted control is rotated; the results are averaged. None is near
0 or 1, and no rhythm fits all of them."""
NOTHING = "no events and no onsets: nothing to match"
STEP_SEC = 0.010
"""100 values per second: six in a video frame of 64 ms."""
MAX_LAG_SEC = 0.5
"""Longest lag tried; never more than a fourth of the clip, so most of it counts."""
MIN_DEVIATION = 2.0**-16
"""Standard deviation below which an envelope is flat and correlates with nothing: half a step of
16 bits."""
EQUAL_DECIMALS = 9
"""Correlations that differ by less differ by rounding."""
FLAT = "every envelope is flat: silence and steady audio do not correlate"
ONE_CLIP = "1 clip: shuffling needs 2"

Envelope = Float64[np.ndarray, " steps"]
RowName = Literal["own_video", "shuffled_video", "shifted_audio", "reference", "video_frame"]


@dataclass(frozen=True)
class WindowScore:
    """Onsets matched one to one with events at most `window_ms` apart, summed over clips."""

    window_ms: float
    matched: float
    precision: float
    """Share of the onsets that match; 0 without onsets."""
    recall: float
    """Share of the events that are matched; 0 without events."""
    f1: Estimate


@dataclass(frozen=True)
class SynchronyRow:
    """One line of the table."""

    name: RowName
    onset_count: float
    within: tuple[WindowScore, ...]
    median_error_ms: float | None
    """Of the pairs matched within the widest window; late is positive."""
    median_absolute_error_ms: float | None


@dataclass(frozen=True)
class SynchronyTable:
    """The rows, and what their numbers rest on."""

    reference: Literal["events", "reference_onsets"]
    clip_count: int
    event_count: int
    rows: tuple[SynchronyRow, ...]
    f1_own_minus_shuffled: Estimate
    """Within the widest window, paired by clips."""
    f1_own_minus_shifted: Estimate
    video_frame_ms: float
    expected_limit_f1: dict[str, float]
    """By window: the share of events, spread evenly over time, that are that near to the middle of
    their video frame."""
    onsets_per_silent_sec: float | None
    """Onsets of generated audio in clips without events; None where all clips have some."""

    def row(self, name: RowName) -> SynchronyRow:
        """Return the row of this name."""
        return next(row for row in self.rows if row.name == name)


def evaluate_synchrony(
    onsets: Sequence[Times],
    reference_onsets: Sequence[Times],
    events_sec: Sequence[Times] | None,
    durations_sec: Float64[np.ndarray, " clips"],
    clock: Clock,
    seed: int,
) -> SynchronyTable:
    """Score the onsets of generated audio against the events of its clips.

    `events_sec` is None where they are unknown; `seed` draws pairings and resamples.
    """
    targets = reference_onsets if events_sec is None else events_sec
    own = match_clips(targets, onsets)
    shuffled = match_shuffled(targets, onsets, seed) if len(targets) > 1 else None
    rotated = [_circular_shift(onsets, durations_sec, part) for part in SHIFT_SHARES]
    shifted = average([match_clips(targets, times) for times in rotated])
    matchings: dict[RowName, Matching | None] = {
        "own_video": own,
        "shuffled_video": shuffled,
        "shifted_audio": shifted,
        "reference": match_clips(targets, reference_onsets),
        "video_frame": match_clips(targets, [_to_video_frames(times, clock) for times in targets]),
    }
    rows = [_row(name, found, seed) for name, found in matchings.items() if found is not None]
    limits = {
        f"{MS_PER_SEC * window:g}_ms": min(1.0, float(2 * window * clock.fps))
        for window in WINDOWS_SEC
    }
    silent = [clip for clip, times in enumerate(targets) if not len(times)]
    false_onsets = sum(len(onsets[clip]) for clip in silent)
    return SynchronyTable(
        "reference_onsets" if events_sec is None else "events",
        len(targets),
        sum(map(len, targets)),
        tuple(rows),
        missing(ONE_CLIP, 1) if shuffled is None else _gain(own, shuffled, seed),
        _gain(own, shifted, seed),
        float(MS_PER_SEC / clock.fps),
        limits,
        float(false_onsets / durations_sec[silent].sum()) if silent else None,
    )


def _circular_shift(
    times: Sequence[Times], durations: Float64[np.ndarray, " clips"], part: float
) -> list[Times]:
    """Rotate each clip's times within its length; what leaves at the end enters at the start."""
    return [
        np.sort((own + part * length) % length)
        for own, length in zip(times, durations, strict=True)
    ]


def _to_video_frames(times: Times, clock: Clock) -> Times:
    """Move each time to the middle of its video frame: the best guess there is."""
    return np.array([float(clock.video_frame_time_sec(int(time * clock.fps))) for time in times])


def _row(name: RowName, matching: Matching, seed: int) -> SynchronyRow:
    errors = matching.errors_sec
    windows = tuple(_window(matching, window, seed) for window in range(len(WINDOWS_SEC)))
    return SynchronyRow(
        name, matching.pooled(0).onsets, windows, median_ms(errors), median_ms(np.abs(errors))
    )


def _window(matching: Matching, window: int, seed: int) -> WindowScore:
    counts, clips = matching.pooled(window), len(matching.counts)
    score = missing(NOTHING, clips)
    if counts.events or counts.onsets:
        score = pooled(matching.counts[:, window], f1, seed)
    width_ms = MS_PER_SEC * WINDOWS_SEC[window]
    return WindowScore(width_ms, counts.matched, counts.precision, counts.recall, score)


def _gain(own: Matching, control: Matching, seed: int) -> Estimate:
    """Return F1 within the widest window less that of a control."""
    return pooled_difference(own.counts[:, -1], control.counts[:, -1], f1, seed)


def median_ms(values_sec: Float64[np.ndarray, " _"]) -> float | None:
    """Return the median in ms; None of nothing."""
    return float(MS_PER_SEC * np.median(values_sec)) if values_sec.size else None


class Agreement(NamedTuple):
    """How well two envelopes agree."""

    correlation: float
    """At lag 0, from -1 to 1."""
    best_correlation: float
    """At the best lag."""
    lag_sec: float
    """The best lag; positive where the generated audio is late."""


@dataclass(frozen=True)
class LoudnessRow:
    """Means over clips of the correlation of loudness with the reference audio."""

    correlation: Estimate
    best_correlation: Estimate
    shuffled_correlation: Estimate
    """With the reference audio of another clip of the category."""
    median_lag_ms: float | None


def evaluate_loudness(
    agreements: Sequence[Agreement | None], shuffled: Sequence[Agreement | None], seed: int
) -> LoudnessRow:
    """Average the agreement with the reference audio, and with that of other clips, if any."""
    lags_sec = np.array([one.lag_sec for one in agreements if one is not None])
    return LoudnessRow(
        mean([one and one.correlation for one in agreements], seed, FLAT),
        mean([one and one.best_correlation for one in agreements], seed, FLAT),
        mean([one and one.correlation for one in shuffled], seed, FLAT if shuffled else ONE_CLIP),
        median_ms(lags_sec),
    )


def envelope(waveform: Waveform, sample_rate_hz: int) -> Envelope:
    """Return the RMS of each whole step of the waveform."""
    step = round(STEP_SEC * sample_rate_hz)
    steps = len(waveform) // step
    blocks = waveform[: steps * step].astype(np.float64).reshape(steps, step)
    return np.sqrt(np.mean(blocks**2, axis=1))


def compare_envelopes(
    generated: Float64[np.ndarray, " _"], reference: Float64[np.ndarray, " _"]
) -> Agreement | None:
    """Compare two envelopes over their common beginning; None where one of them is flat.

    Of lags that fit equally well, the one nearest to 0 is the best.
    """
    common = min(len(generated), len(reference))
    if not common:
        return None
    max_lag = min(round(MAX_LAG_SEC / STEP_SEC), common // 4)
    correlations = _correlations(generated[:common], reference[:common], max_lag)
    if np.isnan(correlations[max_lag]):
        return None
    by_distance = np.array(sorted(range(-max_lag, max_lag + 1), key=abs))
    ordered = np.round(correlations[by_distance + max_lag], EQUAL_DECIMALS)
    best = int(by_distance[np.nanargmax(ordered)])
    return Agreement(
        float(correlations[max_lag]), float(correlations[best + max_lag]), best * STEP_SEC
    )


def _correlations(
    generated: Envelope, reference: Envelope, max_lag: int
) -> Float64[np.ndarray, " lags"]:
    """Return Pearson correlations at lags -max_lag to max_lag; NaN where one part is flat.

    Each over the steps that both have: at lag 2 the third step of `generated` meets the first of
    `reference`.
    """
    steps = len(reference)
    lags = np.arange(-max_lag, max_lag + 1)
    count = steps - np.abs(lags)
    products = np.correlate(generated, reference, "full")[lags + steps - 1]

    def moments(values: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of `count` values each, from `skipped` on."""
        sums, squares = (np.append(0.0, np.cumsum(powers)) for powers in (values, values**2))
        mean = (sums[skipped + count] - sums[skipped]) / count
        variance = (squares[skipped + count] - squares[skipped]) / count - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0))

    generated_mean, generated_deviation = moments(generated, np.maximum(lags, 0))
    reference_mean, reference_deviation = moments(reference, np.maximum(-lags, 0))
    varies = np.minimum(generated_deviation, reference_deviation) >= MIN_DEVIATION
    deviations = np.where(varies, generated_deviation * reference_deviation, np.nan)
    covariance = products / count - generated_mean * reference_mean
    return np.clip(covariance / deviations, -1.0, 1.0)
