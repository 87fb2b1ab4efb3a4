"""The synchrony table: perfect is perfect, a shift is recovered, the controls are at chance."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.audio import NO_TIMES, RATE_HZ, synthetic_clips
from v2s_jax.config import Clock
from v2s_jax.evaluation.onsets import detect_onsets
from v2s_jax.evaluation.synchrony import (
    STEP_SEC,
    LoudnessRow,
    SynchronyTable,
    compare_envelopes,
    envelope,
    evaluate_loudness,
    evaluate_synchrony,
)

CLOCK = Clock()
SILENCE = np.zeros(32_768, np.float32)


@pytest.fixture(scope="module")
def drums():
    return synthetic_clips("drum", "test", 8, 32)


@pytest.fixture(scope="module")
def sounds(drums):
    return [clip.waveform for clip in drums]


@pytest.fixture(scope="module")
def events(drums):
    return [clip.events_sec for clip in drums]


def synchrony(generated, reference, events_sec) -> SynchronyTable:
    made, target = (
        [detect_onsets(one, RATE_HZ) for one in each] for each in (generated, reference)
    )
    durations_sec = np.array([len(one) / RATE_HZ for one in reference])
    return evaluate_synchrony(made, target, events_sec, durations_sec, CLOCK, 0)


def loudness(generated, reference) -> LoudnessRow:
    """Against the reference audio of the clip, and of the next one."""
    made, target = ([envelope(one, RATE_HZ) for one in each] for each in (generated, reference))
    own = [compare_envelopes(*pair) for pair in zip(made, target, strict=True)]
    other = [compare_envelopes(*pair) for pair in zip(made, [*target[1:], target[0]], strict=True)]
    return evaluate_loudness(own, other, 0)


def f1s(table: SynchronyTable, name: str) -> list[float | None]:
    return [window.f1.value for window in table.row(name).within]


def late(waveform: np.ndarray, shift_ms: int) -> np.ndarray:
    """The same sound later, or earlier; silence moves in."""
    shift = shift_ms * RATE_HZ // 1_000
    moved = np.zeros_like(waveform)
    if shift >= 0:
        moved[shift:] = waveform[: len(waveform) - shift]
    else:
        moved[:shift] = waveform[-shift:]
    return moved


# The table


def test_reference_audio_is_perfect_and_its_controls_are_not(sounds, events):
    table = synchrony(sounds, sounds, events)
    assert f1s(table, "own_video") == f1s(table, "reference") == [1.0, 1.0, 1.0]
    for control in ("shuffled_video", "shifted_audio"):
        assert f1s(table, control)[2] < 0.6
    assert table.f1_own_minus_shuffled.low > 0.2
    assert table.f1_own_minus_shifted.low > 0.2
    assert (table.reference, table.clip_count) == ("events", 8)
    assert table.event_count == sum(map(len, events))
    row = loudness(sounds, sounds)
    assert row.correlation.value == pytest.approx(1.0)
    assert row.median_lag_ms == 0.0
    assert row.shuffled_correlation.value < 0.3


@pytest.mark.parametrize("shift_ms", [-70, -30, 30, 70])
def test_shift_is_recovered_by_onsets_and_by_loudness(sounds, events, shift_ms):
    moved = [late(waveform, shift_ms) for waveform in sounds]
    own = synchrony(moved, sounds, events).row("own_video")
    assert own.median_error_ms == pytest.approx(shift_ms, abs=2.0)
    assert own.median_absolute_error_ms == pytest.approx(abs(shift_ms), abs=2.0)
    row = loudness(moved, sounds)
    assert row.median_lag_ms == pytest.approx(shift_ms, abs=1e3 * STEP_SEC / 2)
    assert row.best_correlation.value > 0.95 > row.correlation.value
    within = [window.f1.value for window in own.within]
    for width_ms, value in zip((25, 50, 100), within, strict=True):
        assert (value > 0.9) == (abs(shift_ms) < width_ms)


def test_without_events_the_reference_onsets_are_the_target(sounds, events):
    table = synchrony(sounds, sounds, None)
    assert table.reference == "reference_onsets"
    assert f1s(table, "reference") == [1.0, 1.0, 1.0]
    assert table.row("own_video").median_absolute_error_ms == 0.0
    assert table.event_count == sum(map(len, events))


def test_video_frames_limit_f1_as_computed():
    """Events at 64 places in a video frame of 64 ms, of which 50 lie within 25 ms of its middle."""
    events = [np.array([0.64 + (place + 0.5) / 1_000]) for place in range(64)]
    sounds = [np.zeros(64, np.float32)] * len(events)
    table = synchrony(sounds, sounds, events)
    assert table.video_frame_ms == 64.0
    assert table.expected_limit_f1 == {"25_ms": 0.78125, "50_ms": 1.0, "100_ms": 1.0}
    assert f1s(table, "video_frame") == [0.78125, 1.0, 1.0]
    assert table.row("video_frame").median_absolute_error_ms == pytest.approx(16.0)


def test_silence_has_a_reason_and_no_nan(sounds, events):
    table = synchrony([SILENCE] * 8, sounds, events)
    own = table.row("own_video")
    assert (own.onset_count, f1s(table, "own_video")) == (0, [0.0, 0.0, 0.0])
    silent = loudness([SILENCE] * 8, sounds)
    assert silent.correlation.value is None
    assert "flat" in silent.correlation.reason
    json.dumps(dataclasses.asdict(table), allow_nan=False)
    nothing = synchrony([SILENCE] * 8, [SILENCE] * 8, [NO_TIMES] * 8)
    assert f1s(nothing, "own_video") == [None, None, None]
    assert "nothing to match" in nothing.row("own_video").within[0].f1.reason
    assert nothing.onsets_per_silent_sec == 0.0
    json.dumps(dataclasses.asdict(nothing), allow_nan=False)


def test_false_onsets_of_silent_clips_are_counted(sounds):
    table = synchrony(sounds[:1], [SILENCE], [NO_TIMES])
    assert table.onsets_per_silent_sec == pytest.approx(table.row("own_video").onset_count / 2.048)


def test_few_clips_have_no_interval(sounds, events):
    table = synchrony(sounds[:1], sounds[:1], events[:1])
    assert [row.name for row in table.rows] == [
        "own_video",
        "shifted_audio",
        "reference",
        "video_frame",
    ]
    f1 = table.row("own_video").within[0].f1
    assert (f1.value, f1.low, f1.high) == (1.0, None, None)
    assert f1.reason == "1 clip: an interval needs 5"
    assert "shuffling needs 2" in table.f1_own_minus_shuffled.reason
    json.dumps(dataclasses.asdict(table), allow_nan=False)


# Loudness


def test_envelope_is_the_rms_of_each_step():
    waveform = np.repeat(np.array([0.5, -0.25, 0.0], np.float32), 160)
    np.testing.assert_allclose(envelope(waveform, RATE_HZ), [0.5, 0.25, 0.0])
    assert envelope(waveform[:159], RATE_HZ).size == 0


@given(st.integers(-20, 20), st.integers(0, 2**32 - 1))
def test_lag_of_envelopes_is_recovered(lag, seed):
    long = np.random.default_rng(seed).uniform(0, 1, 200)
    true, generated = long[40:160], long[40 - lag : 160 - lag]
    found = compare_envelopes(generated, true)
    assert found is not None
    assert found.lag_sec == pytest.approx(lag * STEP_SEC)
    assert found.best_correlation == pytest.approx(1.0)
    assert (found.correlation == pytest.approx(1.0)) == (lag == 0)


def test_loudness_agrees_at_any_volume_and_nothing_agrees_with_flat():
    rising = np.linspace(0, 1, 100)
    assert compare_envelopes(0.1 * rising, rising).correlation == pytest.approx(1.0)
    assert compare_envelopes(1 - rising, rising).correlation == pytest.approx(-1.0)
    assert compare_envelopes(np.full(100, 0.3), rising) is None
    assert compare_envelopes(np.empty(0), rising) is None
