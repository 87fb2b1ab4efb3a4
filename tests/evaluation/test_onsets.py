"""Onset detection, one-to-one matching against brute force, and shuffled controls at chance."""

import itertools
import warnings

import mir_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.audio import NO_TIMES, RATE_HZ, noise, synthetic_clips
from v2s_jax.evaluation.onsets import (
    HOP_SEC,
    WINDOWS_SEC,
    Counts,
    Matching,
    detect_onsets,
    f1,
    match,
    match_clips,
    match_shuffled,
    timing_errors,
)
from v2s_jax.evaluation.statistics import derange_within_category, derangements


@pytest.fixture(scope="module")
def drums():
    """Test clips, which the detector's constants were not chosen on."""
    return synthetic_clips("drum", "test", 8, 32)


@pytest.fixture(scope="module")
def onsets(drums):
    return [detect_onsets(clip.waveform, RATE_HZ) for clip in drums]


def f1_of(counts: Counts) -> float:
    return float(f1(np.array(counts)))


def f1s(matching: Matching) -> list[float]:
    return [f1_of(matching.pooled(window)) for window in range(len(WINDOWS_SEC))]


# The detector


def test_reference_audio_has_onsets_at_the_event_times(drums, onsets):
    matching = match_clips([clip.events_sec for clip in drums], onsets)
    assert f1s(matching) == [1.0, 1.0, 1.0]
    assert abs(np.median(matching.errors_sec)) < HOP_SEC / 2
    assert np.abs(matching.errors_sec).max() < 0.008


@pytest.mark.parametrize("level", [1 / 256, 0.03, 0.2])
def test_steady_noise_has_no_onset_not_even_at_the_edges(level):
    assert [detect_onsets(noise(seed, level), RATE_HZ).size for seed in range(5)] == [0] * 5


def test_detection_does_not_depend_on_the_rest_of_the_clip():
    time_sec = np.arange(RATE_HZ) / RATE_HZ
    ring = np.exp(-time_sec / 0.1) * np.sin(2 * np.pi * 180 * time_sec)
    alone, followed = noise(0, 1 / 256), noise(0, 1 / 256)
    for waveform in (alone, followed):
        waveform[8_000:16_000] += 0.15 * ring[:8_000].astype(np.float32)
    followed[20_000:28_000] += 0.9 * ring[:8_000].astype(np.float32)
    (first,) = detect_onsets(alone, RATE_HZ)
    assert first == pytest.approx(0.5, abs=0.012)
    assert detect_onsets(followed, RATE_HZ).tolist() == [first, pytest.approx(1.25, abs=0.012)]


def test_silence_and_short_waveforms_have_no_onsets(recwarn):
    for samples in (0, 1, 511, 512, 32_768):
        assert detect_onsets(np.zeros(samples, np.float32), RATE_HZ).size == 0
    assert not recwarn.list


# Matching

TIMES = st.lists(st.integers(0, 400), max_size=5, unique=True).map(
    lambda times_ms: np.sort(np.array(times_ms, np.float64)) / 1_000
)


def every_matching(events, onsets, window_sec):
    """List the absolute errors of every one-to-one matching within the window."""
    few, many = sorted((events, onsets), key=len)
    for partners in itertools.permutations([*many, *[None] * len(few)], len(few)):
        errors = [abs(a - b) for a, b in zip(few, partners, strict=True) if b is not None]
        if all(error <= window_sec for error in errors):
            yield errors


@given(TIMES, TIMES, st.sampled_from([0.0205, 0.0505, 0.1005]))
def test_matching_is_the_best_by_brute_force(events, onsets, window_sec):
    counts = match(events, onsets, window_sec)
    errors = timing_errors(events, onsets, window_sec)
    matchings = list(every_matching(events, onsets, window_sec))
    most = max(map(len, matchings))
    assert counts == (most, len(events), len(onsets))
    assert len(errors) == most
    least = min(sum(m) for m in matchings if len(m) == most)
    assert np.abs(errors).sum() == pytest.approx(least)
    assert match(onsets, events, window_sec).matched == counts.matched
    assert match(events, onsets, 2 * window_sec).matched >= counts.matched


@given(TIMES, TIMES)
def test_one_clip_scores_as_in_mir_eval(events, onsets):
    counts = match(events, onsets, 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns of empty lists
        expected = mir_eval.onset.f_measure(events, onsets, window=0.05)
    assert (f1_of(counts), counts.precision, counts.recall) == pytest.approx(expected)


def test_late_onsets_have_positive_errors():
    assert timing_errors(np.array([0.5]), np.array([0.53]), 0.1) == pytest.approx([0.03])


def test_silent_clip_has_no_recall_and_no_warning(recwarn):
    with np.errstate(all="raise"):
        matching = match_clips([np.array([0.5, 1.0])], [NO_TIMES])
        nothing = match_clips([NO_TIMES], [NO_TIMES])
    assert (matching.pooled(0).recall, matching.pooled(0).precision) == (0.0, 0.0)
    assert f1s(matching) == f1s(nothing) == [0.0, 0.0, 0.0]
    assert not recwarn.list


def test_counts_are_pooled_not_averaged_over_clips():
    events = [np.array([0.5]), np.array([0.2, 0.6, 1.0])]
    matching = match_clips(events, [np.array([0.5]), NO_TIMES])
    assert matching.pooled(0) == Counts(1, 4, 1)
    assert f1s(matching)[0] == pytest.approx(0.4)


# Shuffled controls


@given(st.integers(1, 40), st.integers(0, 1_000))
def test_derangements_never_pair_a_clip_with_itself_or_twice(clips, seed):
    pairings = derangements(clips, seed)
    met = np.array([np.arange(clips), *pairings])
    assert all(sorted(pairing) == list(range(clips)) for pairing in pairings)
    assert all(len(set(column)) == len(met) for column in met.T)
    assert len(pairings) == min(20, clips - 1)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_each_clip_gets_another_of_its_group(categories, seed, within):
    partners = derange_within_category(categories, seed, within=within)
    assert sorted(partners) == list(range(len(categories)))
    for clip, partner in enumerate(partners):
        group = categories.count(categories[clip]) if within else len(categories)
        assert (partner == clip) == (group == 1)
        assert not within or categories[partner] == categories[clip]


def test_few_clips_meet_every_other_one():
    events = [np.array([0.1 * clip, 1.0]) for clip in range(5)]
    pairs = list(itertools.permutations(range(5), 2))
    matched = np.mean([match(events[i], events[j], 0.05).matched for i, j in pairs])
    shuffled = match_shuffled(events, events, 3).pooled(1)
    assert shuffled == pytest.approx((5 * matched, 10, 10))


def test_perfect_audio_with_other_random_events_is_at_chance():
    random = np.random.default_rng(0)

    def events() -> list[np.ndarray]:
        return list(np.sort(random.uniform(0, 2, (60, 4)), axis=1))

    own = events()
    chance = np.mean([f1s(match_clips(own, events())) for _ in range(10)], axis=0)
    assert f1s(match_shuffled(own, own, 0)) == pytest.approx(chance, abs=0.03)
