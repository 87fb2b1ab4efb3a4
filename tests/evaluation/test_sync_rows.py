"""The table on synchrony: perfect is perfect, a shift is recovered, the controls are at chance."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.envelope import STEP_SEC, agreement, envelope
from v2s_jax.evaluation.sync import derangements, match
from v2s_jax.evaluation.sync_rows import SynchronyRow, SynchronyTable, synchrony

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SILENCE = np.zeros(32_768, np.float32)
NONE = np.empty(0)


@pytest.fixture(scope="module")
def drums():
    return [make_clip("drum", "test", index, 0, CLOCK, 32) for index in range(8)]


@pytest.fixture(scope="module")
def sounds(drums):
    return [clip.waveform for clip in drums]


@pytest.fixture(scope="module")
def events(drums):
    return [clip.events_sec for clip in drums]


def row(table: SynchronyTable, name: str) -> SynchronyRow:
    return next(row for row in table.rows if row.name == name)


def f1s(table: SynchronyTable, name: str) -> list[float | None]:
    return [window.f1.value for window in row(table, name).within]


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


def test_true_against_true_is_perfect_and_its_controls_are_not(sounds, events):
    table = synchrony(sounds, sounds, events, CLOCK, 0)
    own = row(table, "own_video")
    assert f1s(table, "own_video") == f1s(table, "true_sound") == [1.0, 1.0, 1.0]
    assert own.envelope_correlation.value == pytest.approx(1.0)
    assert own.median_lag_ms == 0.0
    for control in ("shuffled_video", "shifted_sound"):
        assert f1s(table, control)[2] < 0.6
        assert row(table, control).envelope_correlation.value < 0.3
    assert table.f1_own_minus_shuffled.low > 0.2
    assert table.f1_own_minus_shifted.low > 0.2
    assert (table.reference, table.clip_count) == ("events", 8)
    assert table.event_count == sum(map(len, events))


@pytest.mark.parametrize("shift_ms", [-70, -30, 30, 70])
def test_shift_is_recovered_by_onsets_and_by_loudness(sounds, events, shift_ms):
    moved = [late(waveform, shift_ms) for waveform in sounds]
    own = row(synchrony(moved, sounds, events, CLOCK, 0), "own_video")
    assert own.median_error_ms == pytest.approx(shift_ms, abs=2.0)
    assert own.median_absolute_error_ms == pytest.approx(abs(shift_ms), abs=2.0)
    assert own.median_lag_ms == pytest.approx(shift_ms, abs=1e3 * STEP_SEC / 2)
    assert own.best_envelope_correlation.value > 0.95 > own.envelope_correlation.value
    within = [window.f1.value for window in own.within]
    for width_ms, value in zip((25, 50, 100), within, strict=True):
        assert (value > 0.9) == (abs(shift_ms) < width_ms)


def test_without_events_the_clips_own_onsets_are_the_reference(sounds, events):
    table = synchrony(sounds, sounds, None, CLOCK, 0)
    assert table.reference == "true_onsets"
    assert f1s(table, "true_sound") == [1.0, 1.0, 1.0]
    assert row(table, "own_video").median_absolute_error_ms == 0.0
    assert table.event_count == sum(map(len, events))


@pytest.mark.slow
def test_noise_is_heard_as_nothing(sounds, events):
    random = np.random.default_rng(0)
    noise = [random.normal(0, 0.1, len(own)).astype(np.float32) for own in sounds]
    table = synchrony(noise, sounds, events, CLOCK, 0)
    assert f1s(table, "own_video") == [0.0, 0.0, 0.0]
    assert row(table, "own_video").median_error_ms is None
    assert abs(row(table, "own_video").envelope_correlation.value) < 0.15


def test_video_frames_set_the_limit_that_arithmetic_says():
    """Events at 64 places in a video frame of 64 ms, of which 50 lie within 25 ms of its middle."""
    events = [np.array([0.64 + (place + 0.5) / 1_000]) for place in range(64)]
    sounds = [np.zeros(64, np.float32)] * len(events)
    table = synchrony(sounds, sounds, events, CLOCK, 0)
    assert table.video_frame_ms == 64.0
    assert table.expected_limit_f1 == {"25_ms": 0.78125, "50_ms": 1.0, "100_ms": 1.0}
    assert f1s(table, "video_frame") == [0.78125, 1.0, 1.0]
    assert row(table, "video_frame").median_absolute_error_ms == pytest.approx(16.0)


@pytest.mark.slow
def test_order_of_clips_does_not_matter(sounds, events):
    forward = synchrony(sounds, sounds, events, CLOCK, 0)
    backward = synchrony(sounds[::-1], sounds[::-1], events[::-1], CLOCK, 0)
    for name in ("own_video", "shifted_sound", "true_sound", "video_frame"):
        assert f1s(forward, name) == pytest.approx(f1s(backward, name))
        one, other = row(forward, name), row(backward, name)
        assert one.median_error_ms == pytest.approx(other.median_error_ms)
        assert one.envelope_correlation.value == pytest.approx(other.envelope_correlation.value)


def test_silence_has_a_reason_and_no_nan(sounds, events):
    table = synchrony([SILENCE] * 8, sounds, events, CLOCK, 0)
    own = row(table, "own_video")
    assert (own.onset_count, f1s(table, "own_video")) == (0, [0.0, 0.0, 0.0])
    assert own.envelope_correlation.value is None
    assert "flat" in own.envelope_correlation.reason
    json.dumps(dataclasses.asdict(table), allow_nan=False)
    nothing = synchrony([SILENCE] * 8, [SILENCE] * 8, [NONE] * 8, CLOCK, 0)
    assert f1s(nothing, "own_video") == [None, None, None]
    assert "nothing to match" in row(nothing, "own_video").within[0].f1.reason
    assert nothing.onsets_per_silent_sec == 0.0
    json.dumps(dataclasses.asdict(nothing), allow_nan=False)


def test_false_onsets_of_silent_clips_are_counted(sounds):
    table = synchrony(sounds[:1], [SILENCE], [NONE], CLOCK, 0)
    assert table.onsets_per_silent_sec == pytest.approx(row(table, "own_video").onset_count / 2.048)


def test_few_clips_say_that_they_have_no_interval(sounds, events):
    table = synchrony(sounds[:1], sounds[:1], events[:1], CLOCK, 0)
    assert [row.name for row in table.rows] == [
        "own_video",
        "shifted_sound",
        "true_sound",
        "video_frame",
    ]
    f1 = row(table, "own_video").within[0].f1
    assert (f1.value, f1.low, f1.high) == (1.0, None, None)
    assert f1.reason == "1 clip: an interval needs 5"
    assert "shuffling needs 2" in table.f1_own_minus_shuffled.reason
    json.dumps(dataclasses.asdict(table), allow_nan=False)


def test_sounds_that_do_not_pair_are_refused(sounds, events):
    with pytest.raises(InputError, match="8 generated and 7 true"):
        synchrony(sounds, sounds[:7], events, CLOCK, 0)
    with pytest.raises(InputError, match="clip 0: 100 generated samples, 32768 true"):
        synchrony([sounds[0][:100]], sounds[:1], events[:1], CLOCK, 0)
    with pytest.raises(InputError, match="events of 8 clips, sounds of 1"):
        synchrony(sounds[:1], sounds[:1], events, CLOCK, 0)
    with pytest.raises(InputError, match="NaN"):
        synchrony([SILENCE * np.nan], sounds[:1], None, CLOCK, 0)
    with pytest.raises(InputError, match="0 generated and 0 true"):
        synchrony([], [], [], CLOCK, 0)


# Loudness


def test_envelope_is_the_rms_of_each_step():
    waveform = np.repeat(np.array([0.5, -0.25, 0.0], np.float32), 160)
    np.testing.assert_allclose(envelope(waveform, RATE_HZ), [0.5, 0.25, 0.0])
    assert envelope(waveform[:159], RATE_HZ).size == 0


@given(st.integers(-20, 20), st.integers(0, 2**32 - 1))
def test_lag_of_envelopes_is_recovered(lag, seed):
    long = np.random.default_rng(seed).uniform(0, 1, 200)
    true, generated = long[40:160], long[40 - lag : 160 - lag]
    found = agreement(generated, true)
    assert found is not None
    assert found.lag_sec == pytest.approx(lag * STEP_SEC)
    assert found.best_correlation == pytest.approx(1.0)
    assert (found.correlation == pytest.approx(1.0)) == (lag == 0)


def test_loudness_agrees_whatever_the_volume_and_nothing_agrees_with_flat():
    rising = np.linspace(0, 1, 100)
    assert agreement(0.1 * rising, rising).correlation == pytest.approx(1.0)
    assert agreement(1 - rising, rising).correlation == pytest.approx(-1.0)
    assert agreement(np.full(100, 0.3), rising) is None
    assert agreement(np.empty(0), rising) is None


# Matching, beyond tests/evaluation/test_sync.py

TIMES = st.lists(st.integers(0, 400), max_size=8, unique=True).map(
    lambda ticks: np.sort(np.array(ticks, np.float64)) / 1_000
)


@given(TIMES, TIMES, st.floats(0.0, 0.2), st.floats(0.0, 0.2))
def test_a_wider_window_never_matches_less(reference, estimated, one, other):
    limit_batch, wide = sorted((one, other))
    assert (
        match(reference, estimated, limit_batch).matched
        <= match(reference, estimated, wide).matched
    )


@given(TIMES, TIMES, st.sampled_from([0.0255, 0.0505, 0.1005]))
def test_matching_is_symmetric(one, other, window_sec):
    assert match(one, other, window_sec).matched == match(other, one, window_sec).matched


@given(st.integers(1, 40), st.integers(0, 1_000))
def test_derangements_never_pair_a_clip_with_itself_or_twice(clips, seed):
    pairings = derangements(clips, seed)
    met = np.array([np.arange(clips), *pairings])
    assert all(sorted(pairing) == list(range(clips)) for pairing in pairings)
    assert all(len(set(column)) == len(met) for column in met.T)
    assert len(pairings) == min(20, clips - 1)
