"""Bootstrap intervals cover the truth, are paired, and are missing for a reason."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2s_jax.evaluation import statistics
from v2s_jax.evaluation.onsets import f1
from v2s_jax.evaluation.statistics import (
    ALL_CLIPS,
    ALL_EQUAL,
    MEAN_OF_CATEGORIES,
    MIN_CLIPS,
    estimate_by_category,
    mean,
    pooled_difference,
    share,
)


@pytest.fixture(scope="module", autouse=True)
def fewer_resamples():
    """So that many intervals can be tried: their ends vary by a twentieth of their width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 400)
        yield


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(0, 99))
def test_amounts_are_summed_and_divided_once(categories, seed):
    random = np.random.default_rng(seed)
    amounts, units = random.normal(size=len(categories)), random.uniform(1, 2, len(categories))
    estimates = dict(estimate_by_category(amounts, units, categories, seed))
    members = {name: np.array([c == name for c in categories]) for name in set(categories)}
    ratios = {name: amounts[rows].sum() / units[rows].sum() for name, rows in members.items()}
    for name, ratio in ratios.items():
        assert estimates[name].value == pytest.approx(ratio)
        assert estimates[name].clips == members[name].sum()
    assert estimates[ALL_CLIPS].value == pytest.approx(amounts.sum() / units.sum())
    expected = pytest.approx(np.mean(list(ratios.values())))
    assert estimates[MEAN_OF_CATEGORIES].value == expected
    for estimate in estimates.values():
        if estimate.low is None:
            assert f"an interval needs {MIN_CLIPS}" in estimate.reason
        else:
            assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3])
def test_equal_clips_have_no_interval(value):
    """Ten clips without an artifact do not show that a thousand would have none."""
    estimate = mean([value] * 10, 0, "")
    assert estimate.value == pytest.approx(value)
    assert (estimate.low, estimate.high, estimate.reason) == (None, None, ALL_EQUAL)
    counts = np.array([[32_768.0 * value, 32_768.0], [160_000.0 * value, 160_000.0]] * 5)
    same = pooled_difference(counts, counts, share, 0)
    assert (same.value, same.low, same.reason) == (0.0, None, ALL_EQUAL)
    assert mean([value] * 9 + [value + 1.0], 0, "").low is not None


def test_mean_of_categories_keeps_the_size_of_each():
    """Categories that differ widely and hardly vary inside: only their mix is uncertain."""
    amounts = np.array([1.0] * 6 + [5.0] * 12)
    amounts[::2] += 1e-9
    categories = ["quiet"] * 6 + ["loud"] * 12
    estimates = dict(estimate_by_category(amounts, np.ones(18), categories, 0))
    stratified, mixed = estimates[MEAN_OF_CATEGORIES], estimates[ALL_CLIPS]
    assert stratified.low == pytest.approx(3.0) == pytest.approx(stratified.high)
    assert mixed.low < mixed.value - 0.5 and mixed.high > mixed.value + 0.5


def test_intervals_cover_the_truth_as_often_as_stated():
    """200 experiments of 40 clips of 2 categories; 95 % less four deviations is 89 %."""
    random = np.random.default_rng(0)
    covered = Counter[str]()
    for _ in range(200):
        units = random.uniform(0.5, 1.5, 40)
        amounts = units * (2.0 + random.exponential(1.0, 40))
        for name, estimate in estimate_by_category(amounts, units, ["a", "b"] * 20, 0):
            covered[name] += estimate.low <= 3.0 <= estimate.high
    for name in (ALL_CLIPS, MEAN_OF_CATEGORIES):
        assert 0.88 <= covered[name] / 200 <= 1.0, name


def test_paired_interval_covers_the_true_difference():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        ease = random.uniform(0.5, 0.9, 40)  # of a clip, shared by both: the pairing matters
        own = np.stack([random.binomial(4, ease), np.full(40, 4), np.full(40, 4)], axis=1)
        other = np.stack([random.binomial(4, ease - 0.4), *own.T[1:]], axis=1)
        found = pooled_difference(own.astype(float), other.astype(float), f1, 0)
        covered += found.low <= 0.4 <= found.high
    assert 0.86 <= covered / 60 < 1.0  # 0.95, give or take three standard deviations
    again = pooled_difference(own.astype(float), other.astype(float), f1, 0)
    assert found == again
