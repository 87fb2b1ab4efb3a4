"""Ranks by hand, ties counted fairly, chance levels equal to simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2s_jax.evaluation.ranking import hit_share, reciprocal_rank


def flags(*places: int, of: int) -> np.ndarray:
    return np.isin(np.arange(of), places)


BY_HAND = [
    # scores, right, top: probability, by counting orders of the equal ones
    ([5.0, 4, 3, 2], (0,), 1, 1.0),
    ([5.0, 4, 3, 2], (2,), 2, 0.0),
    ([5.0, 4, 3, 2], (2,), 3, 1.0),
    ([5.0, 4, 4, 4, 2], (3,), 2, 1 / 3),
    ([5.0, 4, 4, 4, 2], (3,), 3, 2 / 3),
    ([5.0, 4, 4, 4, 2], (3, 1), 2, 2 / 3),
    ([5.0, 4, 4, 4, 2], (3, 1), 3, 1.0),
    ([5.0, 4, 4, 4, 2], (0, 3), 1, 1.0),
    ([7.0, 7, 7, 7], (1,), 1, 1 / 4),
    ([7.0, 7, 7, 7], (1, 2), 2, 1 - 1 / 6),
    ([7.0, 7], (1,), 5, 1.0),
]


@pytest.mark.parametrize(("scores", "right", "top", "wanted"), BY_HAND)
def test_hits_by_hand(scores, right, top, wanted):
    found = hit_share(np.array(scores), flags(*right, of=len(scores)), top)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("scores", "right", "wanted"),
    [
        ([5.0, 4, 3], 0, 1.0),
        ([5.0, 4, 3], 2, 1 / 3),
        ([5.0, 4, 4, 2], 1, (1 / 2 + 1 / 3) / 2),
        ([7.0, 7, 7], 1, (1 + 1 / 2 + 1 / 3) / 3),
    ],
)
def test_reciprocal_ranks_by_hand(scores, right, wanted):
    found = reciprocal_rank(np.array(scores), flags(right, of=len(scores)))
    assert found == pytest.approx(wanted)


few = st.lists(st.integers(0, 3), min_size=2, max_size=6)


@given(few, st.data())
def test_equal_scores_are_averaged_over_all_their_orders(values, data):
    """Against every order of all sounds that the scores allow."""
    right = np.zeros(len(values), bool)
    right[list(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)))] = True
    one = flags(data.draw(st.integers(0, len(values) - 1)), of=len(values))
    top = data.draw(st.integers(1, 7))
    orders = [
        order
        for order in itertools.permutations(range(len(values)))
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order))
    ]
    hits = np.mean([right[list(order[:top])].any() for order in orders])
    inverse = np.mean([1 / (1 + order.index(int(np.argmax(one)))) for order in orders])
    scores = np.array(values, np.float64)
    assert hit_share(scores, right, top) == pytest.approx(hits)
    assert reciprocal_rank(scores, one) == pytest.approx(inverse)


@pytest.mark.parametrize(("sounds", "same", "top"), [(20, 2, 5), (10, 1, 1), (12, 4, 5)])
def test_chance_is_that_of_scores_without_meaning(sounds, same, top):
    """What equal scores give, against 6,000 random rankings."""
    random = np.random.default_rng(0)
    of_category, own = flags(*range(same), of=sounds), flags(0, of=sounds)
    drawn = random.random((6_000, sounds))
    equal = np.zeros(sounds)
    for right in (of_category, own):
        simulated = np.mean([hit_share(scores, right, top) for scores in drawn])
        assert hit_share(equal, right, top) == pytest.approx(
            simulated, abs=0.03
        )  # more than 4 deviations
    simulated = np.mean([reciprocal_rank(scores, own) for scores in drawn])
    assert reciprocal_rank(equal, own) == pytest.approx(simulated, abs=0.03)
    assert hit_share(equal, own, top) == pytest.approx(top / sounds)
