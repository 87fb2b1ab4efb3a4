"""Scores on the counterfactual and the delay probe: true sounds reach them, deaf ones do not."""

import dataclasses
import json

import numpy as np
import pytest
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC as PROBE_SPEED_M_SEC
from v2s_jax.errors import InputError
from v2s_jax.evaluation.detector import HOP_SEC
from v2s_jax.evaluation.estimate import ALIKE
from v2s_jax.evaluation.probe_scores import (
    SPEED_OF_SOUND_M_SEC,
    best_delay_sec,
    counterfactual_pairs,
    delay_slope,
    follow_rate,
)

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SILENCE = np.zeros(32_768, np.float32)
NONE = np.empty(0)


@pytest.fixture(scope="module")
def pairs():
    """Six pairs of drums that look alike and move otherwise."""
    return [make_clip("drum", "test", index, 0, CLOCK, 32, "counterfactual") for index in range(12)]


@pytest.fixture(scope="module")
def far():
    return [make_clip("drum", "test", index, 0, CLOCK, 32, "delay") for index in range(12)]


def followed(pairs, sounds):
    return follow_rate(
        [clip.clip_id for clip in pairs],
        sounds,
        [clip.waveform for clip in pairs],
        [clip.events_sec for clip in pairs],
        RATE_HZ,
        0,
    )


def slope(far, sounds):
    seen = [clip.events_sec - clip.state["delay_sec"] for clip in far]
    return delay_slope(sounds, seen, [clip.state["distance_m"] for clip in far], RATE_HZ, 0)


# Counterfactual pairs


def test_true_sounds_follow_their_video_and_swapped_ones_the_twin(pairs):
    sounds = [clip.waveform for clip in pairs]
    true = followed(pairs, sounds)
    assert (true.by_onsets.value, true.by_loudness.value, true.pairs) == (1.0, 1.0, 6)
    assert (true.by_onsets.reason, true.untold_by_onsets) == (ALIKE, 0)
    swapped = followed(pairs, [sounds[place ^ 1] for place in range(12)])
    assert (swapped.by_onsets.value, swapped.by_loudness.value) == (0.0, 0.0)


def test_sounds_blind_to_motion_are_at_chance(pairs):
    """The same sound for both: what follows one video does not follow the other."""
    alike = followed(pairs, [pairs[place - place % 2].waveform for place in range(12)])
    assert (alike.by_onsets.value, alike.by_loudness.value) == (0.5, 0.5)
    silent = followed(pairs, [SILENCE] * 12)
    assert (silent.by_onsets.value, silent.untold_by_onsets) == (0.5, 12)
    assert (silent.by_loudness.value, silent.untold_by_loudness) == (0.5, 12)


def test_twins_are_found_by_name_in_any_order():
    names = ["drum-test-00004", "dog-test-00005", "drum-test-00005", "dog-test-00004", "lone-00006"]
    assert counterfactual_pairs(names) == [(0, 2), (3, 1)]
    assert counterfactual_pairs(["drum-test-00001", "drum-test-00002", "a"]) == []


def test_clips_without_twins_have_no_rate_and_few_pairs_no_interval(pairs):
    alone = followed(pairs[1:3], [clip.waveform for clip in pairs[1:3]])
    assert (alone.by_onsets.value, alone.by_onsets.reason) == (None, "no clip has a twin")
    one = followed(pairs[:2], [clip.waveform for clip in pairs[:2]])
    assert (one.by_onsets.value, one.by_onsets.low) == (1.0, None)
    assert one.by_loudness.reason == "1 pair: an interval needs 5"
    for rate in (alone, one):
        json.dumps(dataclasses.asdict(rate), allow_nan=False)


def test_pairs_without_events_are_told_by_loudness_alone(pairs):
    sounds = [clip.waveform for clip in pairs]
    names = [clip.clip_id for clip in pairs]
    events = [NONE] * 4 + [clip.events_sec for clip in pairs[4:]]
    some = follow_rate(names, sounds, sounds, events, RATE_HZ, 0)
    assert (some.pairs, some.pairs_with_events, some.by_onsets.clips) == (6, 4, 4)
    assert (some.by_onsets.value, some.by_loudness.value) == (1.0, 1.0)
    none = follow_rate(names, sounds, sounds, [NONE] * 12, RATE_HZ, 0)
    assert none.by_onsets.reason == "no clip that has a twin has events"
    assert (none.by_onsets.value, none.by_loudness.clips) == (None, 6)


# Delay


def test_true_sounds_are_late_by_the_speed_of_sound(far):
    found = slope(far, [clip.waveform for clip in far])
    assert found.expected_sec_per_m == 1 / SPEED_OF_SOUND_M_SEC == 1 / PROBE_SPEED_M_SEC
    assert found.sec_per_m.value == pytest.approx(1 / SPEED_OF_SOUND_M_SEC, rel=0.02)
    assert found.sec_per_m.low <= 1 / SPEED_OF_SOUND_M_SEC <= found.sec_per_m.high
    assert found.within_window.value == 1.0
    assert abs(found.intercept_sec) < HOP_SEC
    assert abs(found.median_error_ms) < 1e3 * HOP_SEC


def test_sounds_deaf_to_distance_have_no_slope(far):
    near = [make_clip("drum", "test", index, 0, CLOCK, 32).waveform for index in range(12)]
    found = slope(far, near)
    assert abs(found.sec_per_m.value) < 0.1 / SPEED_OF_SOUND_M_SEC
    assert found.sec_per_m.high < 0.5 / SPEED_OF_SOUND_M_SEC
    assert found.within_window.value < 0.8


def test_silence_has_no_delay_and_says_so(far):
    found = slope(far, [SILENCE] * 12)
    assert (found.sec_per_m.value, found.intercept_sec, found.median_error_ms) == (None,) * 3
    assert "0 clips" in found.sec_per_m.reason
    json.dumps(dataclasses.asdict(found), allow_nan=False)
    few = slope(far[:4], [clip.waveform for clip in far[:4]])
    assert few.sec_per_m.reason == "4 clips with onsets: a slope needs 5 at different distances"


@pytest.mark.parametrize("delay_sec", [0.0, 0.0333, 0.31, 0.6])
def test_a_delay_is_found_among_missed_and_false_onsets(delay_sec):
    seen = np.array([0.1, 0.45, 1.03, 1.3])
    heard = np.sort(np.append(seen[1:] + delay_sec, 1.9))
    assert best_delay_sec(seen, heard) == pytest.approx(delay_sec, abs=HOP_SEC / 2)


def test_a_delay_out_of_reach_is_none():
    assert best_delay_sec(np.array([0.1]), np.array([1.9])) is None
    assert best_delay_sec(NONE, np.array([1.0])) is best_delay_sec(np.array([1.0]), NONE) is None


def test_equal_delays_have_a_slope_without_an_interval():
    """Clicks, which the detector hears on its own grid, exactly alike in every clip."""
    click = SILENCE.copy()
    click[8_000:8_400] = 0.5
    found = delay_slope(
        [click] * 8, [np.array([0.4])] * 8, [float(clip) for clip in range(8)], RATE_HZ, 0
    )
    assert found.sec_per_m.value == pytest.approx(0.0)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_lists_of_different_lengths_are_refused(far):
    with pytest.raises(InputError, match="lists of 1, 2, 1 clips"):
        delay_slope([SILENCE], [NONE] * 2, [1.0], RATE_HZ, 0)
