"""The counterfactual and the delay probe: reference audio scores best, blind audio at chance."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.audio import NO_TIMES, reference_clips, synthetic_clips
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC as PROBE_SPEED_M_SEC
from v2s_jax.evaluation.clips import Label
from v2s_jax.evaluation.onsets import HOP_SEC
from v2s_jax.evaluation.probes import (
    DELAY_PROBE,
    FOLLOW_PROBE,
    SPEED_OF_SOUND_M_SEC,
    best_delay_sec,
    counterfactual_pairs,
    delay_slope,
    evaluate_probe,
    follow_rate,
)
from v2s_jax.evaluation.statistics import ALL_CLIPS, ALL_EQUAL

SILENCE = np.zeros(32_768, np.float32)


@pytest.fixture(scope="module")
def pairs():
    """Six pairs of drums that look the same and move differently."""
    return reference_clips(
        list(synthetic_clips("drum", "test", 12, 32, "counterfactual")), "counterfactual"
    )


@pytest.fixture(scope="module")
def far():
    return reference_clips(list(synthetic_clips("drum", "test", 12, 32, "delay")), "delay")


def slope(far, audio):
    return evaluate_probe(DELAY_PROBE, delay_slope, audio, far).by_category[ALL_CLIPS]


# Counterfactual pairs


def test_reference_audio_follows_its_video_and_swapped_audio_the_other(pairs):
    own = evaluate_probe(FOLLOW_PROBE, follow_rate, pairs.audio, pairs).by_category[ALL_CLIPS]
    assert (own.by_onsets.value, own.by_loudness.value, own.pairs) == (1.0, 1.0, 6)
    assert (own.by_onsets.reason, own.ties_by_onsets) == (ALL_EQUAL, 0)
    swapped = follow_rate([pairs.audio[clip ^ 1] for clip in range(12)], pairs)
    assert (swapped.by_onsets.value, swapped.by_loudness.value) == (0.0, 0.0)


def test_audio_blind_to_motion_is_at_chance(pairs):
    """The same audio for both: what follows one video does not follow the other."""
    same = follow_rate([pairs.audio[clip - clip % 2] for clip in range(12)], pairs)
    assert (same.by_onsets.value, same.by_loudness.value) == (0.5, 0.5)
    silent = follow_rate([SILENCE] * 12, pairs)
    assert (silent.by_onsets.value, silent.ties_by_onsets) == (0.5, 12)
    assert (silent.by_loudness.value, silent.ties_by_loudness) == (0.5, 12)


def test_pairs_are_found_by_name_in_any_order():
    names = ["drum-test-00004", "dog-test-00005", "drum-test-00005", "dog-test-00004", "lone-00006"]
    assert counterfactual_pairs(names) == [(0, 2), (3, 1)]
    assert counterfactual_pairs(["drum-test-00001", "drum-test-00002", "a"]) == []


def test_clips_without_pairs_have_no_rate_and_few_pairs_no_interval(pairs):
    alone = follow_rate(pairs.audio[1:3], pairs.subset([1, 2]))
    assert (alone.by_onsets.value, alone.by_onsets.reason) == (None, "no clip has a counterpart")
    one = follow_rate(pairs.audio[:2], pairs.subset([0, 1]))
    assert (one.by_onsets.value, one.by_onsets.low) == (1.0, None)
    assert one.by_loudness.reason == "1 pair: an interval needs 5"
    for rate in (alone, one):
        json.dumps(dataclasses.asdict(rate), allow_nan=False)


def test_pairs_without_events_are_scored_by_loudness_only(pairs):
    def without_events(count: int):
        labels = [
            label._replace(events_sec=NO_TIMES) if clip < count else label
            for clip, label in enumerate(pairs.labels)
        ]
        return follow_rate(pairs.audio, replace(pairs, labels=labels))

    some = without_events(4)
    assert (some.pairs, some.pairs_with_events, some.by_onsets.clips) == (6, 4, 4)
    assert (some.by_onsets.value, some.by_loudness.value) == (1.0, 1.0)
    none = without_events(12)
    assert none.by_onsets.reason == "no clip with a counterpart has events"
    assert (none.by_onsets.value, none.by_loudness.clips) == (None, 6)


def test_other_datasets_have_a_reason(pairs):
    assert "--probe delay" in evaluate_probe(DELAY_PROBE, delay_slope, pairs.audio, pairs).reason


# Delay


def test_reference_audio_is_late_by_the_speed_of_sound(far):
    found = slope(far, far.audio)
    assert found.expected_sec_per_m == 1 / SPEED_OF_SOUND_M_SEC == 1 / PROBE_SPEED_M_SEC
    assert found.sec_per_m.value == pytest.approx(1 / SPEED_OF_SOUND_M_SEC, rel=0.02)
    assert found.sec_per_m.low <= 1 / SPEED_OF_SOUND_M_SEC <= found.sec_per_m.high
    assert found.within_window.value == 1.0
    assert abs(found.intercept_sec) < HOP_SEC
    assert abs(found.median_error_ms) < 1e3 * HOP_SEC


def test_audio_blind_to_distance_has_no_slope(far):
    near = [clip.waveform for clip in synthetic_clips("drum", "test", 12, 32)]
    found = slope(far, near)
    assert abs(found.sec_per_m.value) < 0.1 / SPEED_OF_SOUND_M_SEC
    assert found.sec_per_m.high < 0.5 / SPEED_OF_SOUND_M_SEC
    assert found.within_window.value < 0.8


def test_silence_has_no_delay_for_a_reason(far):
    found = slope(far, [SILENCE] * 12)
    assert (found.sec_per_m.value, found.intercept_sec, found.median_error_ms) == (None,) * 3
    assert "0 clips" in found.sec_per_m.reason
    json.dumps(dataclasses.asdict(found), allow_nan=False)
    few = slope(far.subset(range(4)), far.audio[:4])
    assert few.sec_per_m.reason == "4 clips with onsets: a slope needs 5 at different distances"


@pytest.mark.parametrize("delay_sec", [0.0, 0.0333, 0.31, 0.6])
def test_a_delay_is_found_among_missed_and_false_onsets(delay_sec):
    seen = np.array([0.1, 0.45, 1.03, 1.3])
    onsets = np.sort(np.append(seen[1:] + delay_sec, 1.9))
    assert best_delay_sec(seen, onsets) == pytest.approx(delay_sec, abs=HOP_SEC / 2)


def test_a_delay_out_of_reach_is_none():
    assert best_delay_sec(np.array([0.1]), np.array([1.9])) is None
    assert (
        best_delay_sec(NO_TIMES, np.array([1.0]))
        is best_delay_sec(np.array([1.0]), NO_TIMES)
        is None
    )


def test_equal_delays_have_a_slope_without_an_interval(far):
    """Clicks, which the detector finds on its grid, at the same time in every clip."""
    click = SILENCE.copy()
    click[8_000:8_400] = 0.5
    labels = [Label(np.array([0.4]), {"distance_m": m, "delay_sec": 0.0}) for m in range(8)]
    found = delay_slope([click] * 8, replace(far.subset(range(8)), labels=labels))
    assert found.sec_per_m.value == pytest.approx(0.0)
    json.dumps(dataclasses.asdict(found), allow_nan=False)
