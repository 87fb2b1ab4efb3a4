"""The table on synchrony: generated sound between its controls and its limits.

    own_video       generated sound against its own video
    shuffled_video  the same sounds against other videos: what a sound blind to its video gets
    shifted_sound   the same sounds, turned round within their clip: what the right number of
                    onsets at the wrong times gets
    true_sound      the true sound: what the detector of onsets reaches
    video_frame     an oracle that knows each time to one video frame: what pictures can tell

Times of events are the reference where they are known; else the onsets of the clip's own sound
are, and `true_sound` is perfect by construction. Loudness over time is always compared with the
clip's own sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.detector import onsets
from v2s_jax.evaluation.envelope import Agreement, agreement, envelope
from v2s_jax.evaluation.estimate import Estimate, check_pairs, mean, missing, pooled
from v2s_jax.evaluation.estimate import pooled_difference as difference
from v2s_jax.evaluation.sync import (
    MS_PER_SEC,
    WINDOWS_SEC,
    Synchrony,
    averaged,
    derangements,
    f1_of,
    precision,
    recall,
    score,
    score_shuffled,
)

SHIFT_SHARES = (0.21, 0.37, 0.55, 0.71)
"""Parts of the clip by which the shifted control is turned; the results are averaged. None is near
0 or 1, and no rhythm fits all of them."""
ENVELOPE_PAIRINGS = 5
"""Pairings of the shuffled control whose envelopes are compared; onsets get all of them."""

Name = Literal["own_video", "shuffled_video", "shifted_sound", "true_sound", "video_frame"]
FLAT = "every envelope is flat: silence and steady sound do not correlate"
NO_SOUND = "times alone make no sound"
NOTHING = "no events and no onsets: nothing to match"
ONE_CLIP = "1 clip: shuffling needs 2"


class AudioFeatures(NamedTuple):
    """What synchrony needs to know of a sound."""

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

    name: Name
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
    """The table, and what its numbers rest on."""

    reference: Literal["events", "true_onsets"]
    clip_count: int
    event_count: int
    rows: tuple[SynchronyRow, ...]
    f1_own_minus_shuffled: Estimate
    """Within the widest window, paired by clips."""
    f1_own_minus_shifted: Estimate
    video_frame_ms: float
    expected_limit_f1: dict[str, float]
    """By window: the share of events, spread evenly over time, that lie so near the middle of
    their video frame."""
    onsets_per_silent_sec: float | None
    """Onsets of generated sound in clips without any event; None where all clips have some."""


def synchrony(
    generated: Sequence[Float32[np.ndarray, " _"]],
    true: Sequence[Float32[np.ndarray, " _"]],
    events_sec: Sequence[Float64[np.ndarray, " _"]] | None,
    clock: Clock,
    seed: int,
) -> SynchronyTable:
    """Score generated sounds against the events of their clips, beside controls and limits.

    `true` holds the clips' own sounds, `events_sec` the times of what sounds in them, None where
    they are not known. `seed` decides pairings and resamples.

    Raises InputError unless there is one generated and one true sound of the same length for each
    clip, and, where events are known, one list of times.
    """
    check_pairs(generated, true)
    if events_sec is not None and len(events_sec) != len(true):
        raise InputError(
            f"events of {len(events_sec)} clips, sounds of {len(true)}: give one list for each clip"
        )
    made, real = (
        [analyze_audio(waveform, clock.sample_rate_hz) for waveform in sounds]
        for sounds in (generated, true)
    )
    return synchrony_of(made, real, events_sec, clock, seed)


def analyze_audio(waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int) -> AudioFeatures:
    """Find what synchrony needs to know of a sound."""
    return AudioFeatures(
        onsets(waveform, sample_rate_hz),
        envelope(waveform, sample_rate_hz),
        len(waveform) / sample_rate_hz,
    )


def synchrony_of(
    generated: Sequence[AudioFeatures],
    true: Sequence[AudioFeatures],
    events_sec: Sequence[Float64[np.ndarray, " _"]] | None,
    clock: Clock,
    seed: int,
) -> SynchronyTable:
    """Return the table of what was heard in the sounds of the clips; see `synchrony`."""
    made, real = ([sound.onsets_sec for sound in sounds] for sounds in (generated, true))
    reference = real if events_sec is None else events_sec
    durations = np.array([sound.duration_sec for sound in true])
    own = score(reference, made)
    shifted = averaged(
        [score(reference, _circular_shift(made, durations, share)) for share in SHIFT_SHARES]
    )
    limit = score(reference, [_to_video_frames(times, clock) for times in reference])
    synchronies: dict[Name, Synchrony] = {"own_video": own}
    if len(true) > 1:
        synchronies["shuffled_video"] = score_shuffled(reference, made, seed)
    synchronies |= {"shifted_sound": shifted, "true_sound": score(reference, real)}
    synchronies["video_frame"] = limit
    loudness = _agreements(generated, true, seed)
    widest = len(WINDOWS_SEC) - 1
    shuffled = synchronies.get("shuffled_video")
    return SynchronyTable(
        "true_onsets" if events_sec is None else "events",
        len(true),
        sum(map(len, reference)),
        tuple(
            _row(name, matched, loudness.get(name), seed) for name, matched in synchronies.items()
        ),
        missing(ONE_CLIP, 1) if shuffled is None else _gain(own, shuffled, widest, seed),
        _gain(own, shifted, widest, seed),
        float(MS_PER_SEC / clock.fps),
        {
            f"{MS_PER_SEC * window:g}_ms": min(1.0, float(2 * window * clock.fps))
            for window in WINDOWS_SEC
        },
        _in_silence(reference, made, durations),
    )


def _circular_shift(
    times: Sequence[Float64[np.ndarray, " _"]],
    durations: Float64[np.ndarray, " clips"],
    share: float,
) -> list[Float64[np.ndarray, " _"]]:
    """Turn each clip's times round its length; what leaves at the end comes in at the start."""
    return [
        np.sort((own + share * length) % length)
        for own, length in zip(times, durations, strict=True)
    ]


def _to_video_frames(
    times: Float64[np.ndarray, " events"], clock: Clock
) -> Float64[np.ndarray, " events"]:
    """Move each time to the middle of the video frame that it lies in: the best guess there is."""
    return np.array([float(clock.picture_time_sec(int(time * clock.fps))) for time in times])


def _agreements(
    generated: Sequence[AudioFeatures], true: Sequence[AudioFeatures], seed: int
) -> dict[Name, list[list[Agreement]]]:
    """Return how each clip's envelopes agree, for each row that sounds; flat ones are left out."""
    made, real = ([sound.envelope for sound in sounds] for sounds in (generated, true))
    pairings = derangements(len(real), seed)[:ENVELOPE_PAIRINGS]

    def of(clip: int, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Agreement]:
        return [found for pair in pairs if (found := agreement(*pair)) is not None]

    clips = range(len(real))
    return {
        "own_video": [of(i, [(made[i], real[i])]) for i in clips],
        "shuffled_video": [of(i, [(made[i], real[p[i]]) for p in pairings]) for i in clips],
        "shifted_sound": [
            of(i, [(np.roll(made[i], round(s * len(made[i]))), real[i]) for s in SHIFT_SHARES])
            for i in clips
        ],
        "true_sound": [of(i, [(real[i], real[i])]) for i in clips],
    }


def _row(
    name: Name, matched: Synchrony, agreements: list[list[Agreement]] | None, seed: int
) -> SynchronyRow:
    errors = matched.errors_sec
    lags = [found.lag_sec for clip in agreements or [] for found in clip]
    return SynchronyRow(
        name,
        matched.pooled(0).estimated,
        tuple(_window(matched, window, seed) for window in range(len(WINDOWS_SEC))),
        _median_ms(errors),
        _median_ms(np.abs(errors)),
        _mean_over(agreements, "correlation", seed),
        _mean_over(agreements, "best_correlation", seed),
        _median_ms(np.array(lags)),
    )


def _window(matched: Synchrony, window: int, seed: int) -> WindowScore:
    counts = matched.pooled(window)
    nothing = not (counts.reference or counts.estimated)
    clips = len(matched.counts)
    return WindowScore(
        MS_PER_SEC * WINDOWS_SEC[window],
        counts.matched,
        precision(counts),
        recall(counts),
        missing(NOTHING, clips) if nothing else pooled(matched.counts[:, window], f1_of, seed),
    )


def _mean_over(agreements: list[list[Agreement]] | None, field: str, seed: int) -> Estimate:
    if agreements is None:
        return missing(NO_SOUND)
    clips = [[getattr(found, field) for found in clip] for clip in agreements]
    return mean([float(np.mean(values)) if values else None for values in clips], seed, FLAT)


def _gain(own: Synchrony, control: Synchrony, window: int, seed: int) -> Estimate:
    return difference(own.counts[:, window], control.counts[:, window], f1_of, seed)


def _median_ms(values_sec: Float64[np.ndarray, " _"]) -> float | None:
    return float(MS_PER_SEC * np.median(values_sec)) if values_sec.size else None


def _in_silence(
    reference: Sequence[Float64[np.ndarray, " _"]],
    made: Sequence[Float64[np.ndarray, " _"]],
    durations: Float64[np.ndarray, " clips"],
) -> float | None:
    silent = [clip for clip, times in enumerate(reference) if not len(times)]
    if not silent:
        return None
    return float(sum(len(made[clip]) for clip in silent) / durations[silent].sum())
