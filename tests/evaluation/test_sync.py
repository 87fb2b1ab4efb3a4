"""Synchrony: the detector hears true hits, the matcher is optimal, the controls are at chance."""

import itertools
import warnings

import mir_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from v2s_jax.datasets.synthetic.generator import make_clip

from v2s_jax.config import Clock
from v2s_jax.evaluation import (
    Counts,
    Synchrony,
    difference_interval,
    f1,
    match,
    onsets,
    precision,
    recall,
    score,
    score_shuffled,
    timing_errors,
)
from v2s_jax.evaluation.detector import HOP_SEC
from v2s_jax.evaluation.sync import WINDOWS_SEC, f1_of

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
EVERY_WINDOW = range(len(WINDOWS_SEC))
NONE = np.empty(0)


@pytest.fixture(scope="module")
def drums():
    """Test clips, which the detector's constants were not chosen on."""
    return [make_clip("drum", "test", index, 0, CLOCK, 32) for index in range(8)]


@pytest.fixture(scope="module")
def heard(drums):
    return [onsets(clip.waveform, RATE_HZ) for clip in drums]


def f1s(synchrony: Synchrony) -> list[float]:
    return [f1(synchrony.pooled(window)) for window in EVERY_WINDOW]


def noise(seed: int, level: float) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=32_768)).astype(np.float32)


# The detector


def test_true_sound_is_heard_at_the_true_times(drums, heard):
    synchrony = score([clip.events_sec for clip in drums], heard)
    assert f1s(synchrony) == [1.0, 1.0, 1.0]
    assert abs(np.median(synchrony.errors_sec)) < HOP_SEC / 2
    assert np.abs(synchrony.errors_sec).max() < 0.008


@pytest.mark.parametrize("shift_ms", [-60, -20, 20, 60])
def test_shift_of_the_sound_is_recovered(drums, shift_ms):
    events = [clip.events_sec for clip in drums]
    shift = shift_ms * RATE_HZ // 1_000
    shifted = score(events, [onsets(np.roll(clip.waveform, shift), RATE_HZ) for clip in drums])
    assert 1e3 * np.median(shifted.errors_sec) == pytest.approx(shift_ms, abs=2.0)
    expected = [float(abs(shift_ms) < 1e3 * window) for window in WINDOWS_SEC]
    assert f1s(shifted) == pytest.approx(expected, abs=0.06)  # a hit may wrap round the edge


@pytest.mark.parametrize("level", [1 / 256, 0.03, 0.2])
def test_steady_noise_has_no_onset_not_even_at_the_edges(level):
    assert [onsets(noise(seed, level), RATE_HZ).size for seed in range(5)] == [0] * 5


def test_noise_scores_nothing(drums):
    synchrony = score(
        [clip.events_sec for clip in drums],
        [onsets(noise(seed, 0.1), RATE_HZ) for seed in range(len(drums))],
    )
    assert f1s(synchrony) == [0.0, 0.0, 0.0]


def test_weak_hit_is_heard_whatever_else_is_in_the_clip():
    time_sec = np.arange(RATE_HZ) / RATE_HZ
    ring = np.exp(-time_sec / 0.1) * np.sin(2 * np.pi * 180 * time_sec)
    alone, followed = noise(0, 1 / 256), noise(0, 1 / 256)
    for waveform in (alone, followed):
        waveform[8_000:16_000] += 0.15 * ring[:8_000].astype(np.float32)
    followed[20_000:28_000] += 0.9 * ring[:8_000].astype(np.float32)
    (first,) = onsets(alone, RATE_HZ)
    assert first == pytest.approx(0.5, abs=0.012)
    assert onsets(followed, RATE_HZ).tolist() == [first, pytest.approx(1.25, abs=0.012)]


def test_silence_and_snippets_have_no_onsets(recwarn):
    for samples in (0, 1, 511, 512, 32_768):
        assert onsets(np.zeros(samples, np.float32), RATE_HZ).size == 0
    assert not recwarn.list


# Matching


@st.composite
def times(draw):
    ticks = draw(st.lists(st.integers(0, 400), max_size=5, unique=True))
    return np.sort(np.array(ticks, np.float64)) / 1_000


def every_matching(reference, estimated, window_sec):
    """List the absolute errors of every one-to-one matching within the window."""
    few, many = sorted((reference, estimated), key=len)
    for places in itertools.permutations([*many, *[None] * len(few)], len(few)):
        errors = [abs(a - b) for a, b in zip(few, places, strict=True) if b is not None]
        if all(error <= window_sec for error in errors):
            yield errors


@given(times(), times(), st.sampled_from([0.0205, 0.0505, 0.1005]))
def test_matching_is_the_best_that_brute_force_finds(reference, estimated, window_sec):
    counts = match(reference, estimated, window_sec)
    errors = timing_errors(reference, estimated, window_sec)
    matchings = list(every_matching(reference, estimated, window_sec))
    most = max(map(len, matchings))
    assert counts == (most, len(reference), len(estimated))
    assert len(errors) == most
    least = min(sum(m) for m in matchings if len(m) == most)
    assert np.abs(errors).sum() == pytest.approx(least)


@given(times(), times())
def test_one_clip_scores_as_in_mir_eval(reference, estimated):
    counts = match(reference, estimated, 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns of empty lists
        expected = mir_eval.onset.f_measure(reference, estimated, window=0.05)
    assert (f1(counts), precision(counts), recall(counts)) == pytest.approx(expected)


def test_an_onset_counts_once_and_missed_events_are_kept():
    counts = match(np.array([0.10, 0.12, 0.90]), np.array([0.11]), 0.05)
    assert counts == Counts(1, 3, 1)
    assert (precision(counts), recall(counts), f1(counts)) == (1.0, 1 / 3, 0.5)


def test_late_is_positive():
    assert timing_errors(np.array([0.5]), np.array([0.53]), 0.1) == pytest.approx([0.03])


def test_silent_clip_has_no_recall_and_no_warning(recwarn):
    with np.errstate(all="raise"):
        synchrony = score([np.array([0.5, 1.0])], [NONE])
        nothing = score([NONE], [NONE])
    assert (recall(synchrony.pooled(0)), precision(synchrony.pooled(0))) == (0.0, 0.0)
    assert f1s(synchrony) == f1s(nothing) == [0.0, 0.0, 0.0]
    assert synchrony.errors_sec.size == 0
    assert not recwarn.list


def test_counts_are_pooled_not_averaged_over_clips():
    synchrony = score([np.array([0.5]), np.array([0.2, 0.6, 1.0])], [np.array([0.5]), NONE])
    assert synchrony.pooled(0) == Counts(1, 4, 1)
    assert f1s(synchrony)[0] == pytest.approx(0.4)


def test_order_of_clips_does_not_matter(drums, heard):
    events = [clip.events_sec for clip in drums]
    forward = score(events, heard)
    backward = score(events[::-1], heard[::-1])
    for window in EVERY_WINDOW:
        assert forward.pooled(window) == backward.pooled(window)
    shuffled = score_shuffled(events, heard, 0)
    other_way = score_shuffled(events[::-1], heard[::-1], 0)
    assert f1s(shuffled) == pytest.approx(f1s(other_way))  # so few clips meet all others


# The shuffled control


def test_no_sound_meets_its_own_clip():
    events = [np.array([float(clip)]) for clip in range(30)]
    assert f1s(score(events, events)) == [1.0, 1.0, 1.0]
    assert f1s(score_shuffled(events, events, 0)) == [0.0, 0.0, 0.0]


def test_few_clips_meet_every_other_one():
    events = [np.array([0.1 * clip, 1.0]) for clip in range(5)]
    pairs = list(itertools.permutations(range(5), 2))
    matched = np.mean([match(events[i], events[j], 0.05).matched for i, j in pairs])
    shuffled = score_shuffled(events, events, 3).pooled(1)
    assert shuffled == pytest.approx((5 * matched, 10, 10))


def test_perfect_sound_with_other_random_events_is_at_chance():
    random = np.random.default_rng(0)

    def events() -> list[np.ndarray]:
        return list(np.sort(random.uniform(0, 2, (60, 4)), axis=1))

    own = events()
    chance = np.mean([f1s(score(own, events())) for _ in range(10)], axis=0)
    assert f1s(score_shuffled(own, own, 0)) == pytest.approx(chance, abs=0.03)


# The interval


def test_interval_covers_the_true_difference_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    experiments = 60
    for _ in range(experiments):
        ease = random.uniform(0.5, 0.9, 40)  # of a clip, shared by both: the pairing matters
        own = np.stack([random.binomial(4, ease), np.full(40, 4), np.full(40, 4)], axis=1)
        other = np.stack([random.binomial(4, ease - 0.4), *own.T[1:]], axis=1)
        interval = difference_interval(own.astype(float), other.astype(float), f1_of, 0)
        covered += interval.low <= 0.4 <= interval.high
    assert 0.86 <= covered / experiments < 1.0  # 0.95, give or take three standard deviations


def test_interval_is_paired():
    counts = np.random.default_rng(0).integers(1, 5, (30, 3)).astype(np.float64)
    assert difference_interval(counts, counts, f1_of, 0) == (0.0, 0.0, 0.0)


def test_interval_holds_the_difference_of_pooled_scores_and_repeats(drums, heard):
    events = [clip.events_sec for clip in drums]
    own, shuffled = score(events, heard), score_shuffled(events, heard, 0)
    first, second = (
        difference_interval(own.counts[:, 2], shuffled.counts[:, 2], f1_of, 7) for _ in range(2)
    )
    assert first == second
    assert first.difference == pytest.approx(f1s(own)[2] - f1s(shuffled)[2])
    assert 0 < first.low < first.difference < first.high
