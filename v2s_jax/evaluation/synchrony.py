"""Synchrony: do sounds start when something visible happens? With controls and upper limits.

    own_video       generated audio against its own video
    shuffled_video  the same audio against other videos: the score of audio blind to its video
    shifted_audio   the same audio, rotated within its clip: the right number of onsets at the
                    wrong times
    reference       the reference audio: what the onset detector reaches
    video_frame     an oracle that knows each time to one video frame: what images can tell

Times of events are the reference where they are known; else the onsets of the clip's reference
audio are, and row `reference` is perfect by construction. Loudness over time is always compared
with the reference audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.config import Clock
from v2s_jax.evaluation.loudness import FLAT, ONE_CLIP, Agreement, compare_envelopes, envelope
from v2s_jax.evaluation.matching import (
    MS_PER_SEC,
    WINDOWS_SEC,
    Matching,
    Times,
    average,
    derangements,
    f1,
    match_clips,
    match_shuffled,
    precision,
    recall,
)
from v2s_jax.evaluation.onsets import detect_onsets
from v2s_jax.evaluation.statistics import Estimate, mean, missing, pooled, pooled_difference

SHIFT_SHARES = (0.21, 0.37, 0.55, 0.71)
"""Parts of the clip by which the shifted control is rotated; the results are averaged. None is near
0 or 1, and no rhythm fits all of them."""
ENVELOPE_PAIRINGS = 5
"""Pairings of the shuffled control whose envelopes are compared; onsets get all of them."""
NO_AUDIO = "times alone make no sound"
NOTHING = "no events and no onsets: nothing to match"

RowName = Literal["own_video", "shuffled_video", "shifted_audio", "reference", "video_frame"]


class AudioFeatures(NamedTuple):
    """What synchrony needs to know about a waveform."""

    onsets_sec: Float64[np.ndarray, " onsets"]
    envelope: Float64[np.ndarray, " steps"]
    duration_sec: float


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
    envelope_correlation: Estimate
    """Mean over clips of the Pearson correlation of loudness, at lag 0."""
    best_envelope_correlation: Estimate
    """The same at each clip's best lag."""
    median_lag_ms: float | None
    """Of the best lags; late is positive."""


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


def analyze_audio(waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int) -> AudioFeatures:
    """Detect onsets and measure loudness."""
    return AudioFeatures(
        detect_onsets(waveform, sample_rate_hz),
        envelope(waveform, sample_rate_hz),
        len(waveform) / sample_rate_hz,
    )


def evaluate_synchrony(
    generated: Sequence[AudioFeatures],
    reference: Sequence[AudioFeatures],
    events_sec: Sequence[Times] | None,
    clock: Clock,
    seed: int,
) -> SynchronyTable:
    """Score generated audio against the events of its clips, with controls and limits.

    Args:
        generated: Features of one generated waveform for each clip.
        reference: Features of the clips' reference audio.
        events_sec: Times of each clip's audible events; None where they are unknown.
        clock: Video frame rate.
        seed: Seed of pairings and resamples.
    """
    onsets = [audio.onsets_sec for audio in generated]
    reference_onsets = [audio.onsets_sec for audio in reference]
    targets = reference_onsets if events_sec is None else events_sec
    durations = np.array([audio.duration_sec for audio in reference])
    own = match_clips(targets, onsets)
    shifted = average(
        [match_clips(targets, _circular_shift(onsets, durations, part)) for part in SHIFT_SHARES]
    )
    limit = match_clips(targets, [_to_video_frames(times, clock) for times in targets])
    matchings: dict[RowName, Matching] = {"own_video": own}
    if len(reference) > 1:
        matchings["shuffled_video"] = match_shuffled(targets, onsets, seed)
    matchings |= {"shifted_audio": shifted, "reference": match_clips(targets, reference_onsets)}
    matchings["video_frame"] = limit
    agreements = _agreements(generated, reference, seed)
    shuffled = matchings.get("shuffled_video")
    return SynchronyTable(
        "reference_onsets" if events_sec is None else "events",
        len(reference),
        sum(map(len, targets)),
        tuple(_row(name, found, agreements.get(name), seed) for name, found in matchings.items()),
        missing(ONE_CLIP, 1) if shuffled is None else _gain(own, shuffled, seed),
        _gain(own, shifted, seed),
        float(MS_PER_SEC / clock.fps),
        {
            f"{MS_PER_SEC * window:g}_ms": min(1.0, float(2 * window * clock.fps))
            for window in WINDOWS_SEC
        },
        _onsets_per_silent_sec(targets, onsets, durations),
    )


def _circular_shift(
    times: Sequence[Times], durations: Float64[np.ndarray, " clips"], part: float
) -> list[Times]:
    """Rotate each clip's times within its length; what leaves at the end enters at the start."""
    return [
        np.sort((own + part * length) % length)
        for own, length in zip(times, durations, strict=True)
    ]


def _to_video_frames(
    times: Float64[np.ndarray, " events"], clock: Clock
) -> Float64[np.ndarray, " events"]:
    """Move each time to the middle of its video frame: the best guess there is."""
    return np.array([float(clock.video_frame_time_sec(int(time * clock.fps))) for time in times])


def _agreements(
    generated: Sequence[AudioFeatures], reference: Sequence[AudioFeatures], seed: int
) -> dict[RowName, list[list[Agreement]]]:
    """Return the agreements of each clip's envelopes by row; flat envelopes are left out."""
    made, target = ([audio.envelope for audio in audios] for audios in (generated, reference))
    pairings = derangements(len(target), seed)[:ENVELOPE_PAIRINGS]

    def compare(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Agreement]:
        return [found for pair in pairs if (found := compare_envelopes(*pair)) is not None]

    def shifts(clip: int) -> list[np.ndarray]:
        return [np.roll(made[clip], round(part * len(made[clip]))) for part in SHIFT_SHARES]

    clips = range(len(target))
    return {
        "own_video": [compare([(made[i], target[i])]) for i in clips],
        "shuffled_video": [compare([(made[i], target[p[i]]) for p in pairings]) for i in clips],
        "shifted_audio": [compare([(one, target[i]) for one in shifts(i)]) for i in clips],
        "reference": [compare([(target[i], target[i])]) for i in clips],
    }


def _row(
    name: RowName, matching: Matching, agreements: list[list[Agreement]] | None, seed: int
) -> SynchronyRow:
    errors = matching.errors_sec
    lags = [found.lag_sec for clip in agreements or [] for found in clip]
    return SynchronyRow(
        name,
        matching.pooled(0).onsets,
        tuple(_window(matching, window, seed) for window in range(len(WINDOWS_SEC))),
        _median_ms(errors),
        _median_ms(np.abs(errors)),
        _mean_over(agreements, "correlation", seed),
        _mean_over(agreements, "best_correlation", seed),
        _median_ms(np.array(lags)),
    )


def _window(matching: Matching, window: int, seed: int) -> WindowScore:
    counts = matching.pooled(window)
    is_empty = not (counts.events or counts.onsets)
    clips = len(matching.counts)
    return WindowScore(
        MS_PER_SEC * WINDOWS_SEC[window],
        counts.matched,
        precision(counts),
        recall(counts),
        missing(NOTHING, clips) if is_empty else pooled(matching.counts[:, window], f1, seed),
    )


def _mean_over(agreements: list[list[Agreement]] | None, field: str, seed: int) -> Estimate:
    if agreements is None:
        return missing(NO_AUDIO)
    clips = [[getattr(found, field) for found in clip] for clip in agreements]
    return mean([float(np.mean(values)) if values else None for values in clips], seed, FLAT)


def _gain(own: Matching, control: Matching, seed: int) -> Estimate:
    """Return F1 within the widest window less that of a control."""
    return pooled_difference(own.counts[:, -1], control.counts[:, -1], f1, seed)


def _median_ms(values_sec: Times) -> float | None:
    return float(MS_PER_SEC * np.median(values_sec)) if values_sec.size else None


def _onsets_per_silent_sec(
    targets: Sequence[Times], onsets: Sequence[Times], durations: Float64[np.ndarray, " clips"]
) -> float | None:
    silent = [clip for clip, times in enumerate(targets) if not len(times)]
    if not silent:
        return None
    return float(sum(len(onsets[clip]) for clip in silent) / durations[silent].sum())
