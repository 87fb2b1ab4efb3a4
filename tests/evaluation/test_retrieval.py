"""Retrieval: gallery scores, ranks by hand, ties averaged, chance levels as simulated."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import random_params, with_model
from tests.probes.clips import SAMPLES, make_batch
from v2s_jax.checkpoints import load_params
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.evaluation import scorer
from v2s_jax.evaluation.retrieval import (
    LESS_LOG_MEAN,
    LESS_UNCONDITIONAL,
    LIKELIHOOD,
    RESOLUTION_NATS,
    RetrievalRow,
    hit_share,
    normalize_scores,
    reciprocal_rank,
    retrieval_rows,
)
from v2s_jax.evaluation.scorer import Scorer, ScorerInput, VideoGallery
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.quantize import quantize

VIDEO_FRAMES = 3
VARIANTS = [
    {"variant": "frame"},
    {"variant": "aligned"},
    pytest.param({"variant": "seq"}, marks=pytest.mark.slow),
    pytest.param({"variant": "flow", "cell": "lstm", "rnn_layers": 2}, marks=pytest.mark.slow),
    pytest.param({"variant": "frame", "tiers": 2, "frame_size": 16}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c.values())))
def test_gallery_scores_equal_the_scorers(tiny, changes, monkeypatch):
    """Five videos in batches of three and two rows; audio that ends inside a chunk."""
    monkeypatch.setattr(scorer, "MAX_VIDEO_ROWS", 3)
    config = with_model(tiny, **changes)
    params = random_params(config)
    random = np.random.default_rng(0)
    levels = random.integers(100, 156, 2_500).astype(np.uint8)
    features = random.random((5, VIDEO_FRAMES, config.model.feature_dim)).astype(np.float16)
    expected = [
        score.bits
        for score in Scorer(config, params).score_all([ScorerInput(levels, f) for f in features])
    ]
    scored: list[int] = []
    found = VideoGallery(config, params, features).bits(levels, scored.append)
    assert sum(scored) == 5 * len(levels)
    per_sample = 1e-5 * len(levels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=per_sample)
    backwards = VideoGallery(config, params, features[::-1]).bits(levels)[::-1]
    np.testing.assert_allclose(backwards, expected, rtol=0, atol=per_sample)


def by_measure(rows: list[RetrievalRow], score: str) -> dict[tuple[str, str, str], RetrievalRow]:
    return {(row.right, row.among, row.measure): row for row in rows if row.score == score}


def test_oracle_retrieves_perfectly_and_blind_model_by_chance():
    """Clips of the appearance probe, whose sound follows from four beats that are seen.

    The oracle gives the sound that follows from what is seen all but a billionth of the
    probability; clips are of the category of their first beat.
    """
    batch, codes = make_batch("appearance", "test", 0, 0, 64)
    _, unlike = np.unique(codes, axis=0, return_index=True)
    levels, codes = batch.levels[unlike], codes[unlike]
    assert len(unlike) > 20 and levels.shape[1] == SAMPLES
    follows = (levels[:, None] == levels[None]).all(axis=-1)  # sounds by the codes of each video
    oracle = np.where(follows, np.log(1 - 1e-9), np.log(1e-9))
    categories = [f"beat {code}" for code in codes[:, 0]]
    own = range(len(codes))
    rows = retrieval_rows("oracle", normalize_scores(oracle, None), own, categories, seed=0)
    assert {row.estimate.value for row in rows} == {1.0}
    assert all(row.estimate.low is None and "equal" in row.estimate.reason for row in rows)

    loudness = np.tile(np.random.default_rng(0).normal(size=len(codes)), (len(codes), 1))
    blind = retrieval_rows(
        "blind", normalize_scores(loudness, loudness[0]), own, categories, seed=0
    )
    for score in (LESS_LOG_MEAN, LESS_UNCONDITIONAL):  # all equal: no order at all
        for row in by_measure(blind, score).values():
            assert row.estimate.value == pytest.approx(row.chance)
    instance = by_measure(blind, LIKELIHOOD)["instance", "all", "top_1"]
    assert instance.estimate.value == pytest.approx(1 / len(codes)) == instance.chance


def test_table_of_scores_by_hand():
    """Two queries, four sounds: a1 and a2 of one category, b1 and b2 of the other."""
    scores = np.array([[-5.0, -4, -4, -9], [-7.0, -8, -2, -3]])
    rows = retrieval_rows("m", normalize_scores(scores, None), [0, 3], ["a", "a", "b", "b"], seed=0)
    found = {key: row.estimate.value for key, row in by_measure(rows, LIKELIHOOD).items()}
    assert found["instance", "all", "top_1"] == 0
    assert found["instance", "all", "mean_reciprocal_rank"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["instance", "category", "mean_reciprocal_rank"] == pytest.approx(1 / 2)
    assert found["category", "all", "top_1"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["category", "all", "top_5"] == 1
    chance = {key: row.chance for key, row in by_measure(rows, LIKELIHOOD).items()}
    assert chance["category", "all", "top_1"] == pytest.approx(1 / 2)
    assert chance["instance", "all", "mean_reciprocal_rank"] == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )
    mutual = normalize_scores(scores, None)[LESS_LOG_MEAN]
    mean = np.log((np.exp(-5) + np.exp(-7)) / 2)
    assert mutual[0, 0] == pytest.approx(-5 - mean, abs=RESOLUTION_NATS)


@pytest.mark.slow
def test_pretrained_model_finds_the_audio_of_a_drum():
    """Six drums of 1.5 s; chance is one of six. Easy sounds win unless they are corrected."""
    config, params = load_params(PRETRAINED["frame"])
    clips = [make_clip("drum", "test", index, 0, config.clock, 24) for index in range(6)]
    features = np.stack([PixelsExtractor().extract(clip.frames).appearance for clip in clips])
    videos = VideoGallery(config, params, features)
    model = config.model
    sounds = [quantize(clip.waveform, model.q_levels, model.quantization) for clip in clips]
    likelihood = -np.stack([videos.bits(levels) for levels in sounds], axis=1) * np.log(2)
    rows = retrieval_rows(
        "demo", normalize_scores(likelihood, None), range(6), ["drum"] * 6, seed=0
    )
    assert by_measure(rows, LESS_LOG_MEAN)["instance", "all", "top_1"].estimate.value == 1.0


# Ranks


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


@pytest.mark.parametrize(("scores", "right", "top", "expected"), BY_HAND)
def test_hits_by_hand(scores, right, top, expected):
    found = hit_share(np.array(scores), flags(*right, of=len(scores)), top)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "right", "expected"),
    [
        ([5.0, 4, 3], 0, 1.0),
        ([5.0, 4, 3], 2, 1 / 3),
        ([5.0, 4, 4, 2], 1, (1 / 2 + 1 / 3) / 2),
        ([7.0, 7, 7], 1, (1 + 1 / 2 + 1 / 3) / 3),
    ],
)
def test_reciprocal_ranks_by_hand(scores, right, expected):
    found = reciprocal_rank(np.array(scores), flags(right, of=len(scores)))
    assert found == pytest.approx(expected)


FEW = st.lists(st.integers(0, 3), min_size=2, max_size=6)


@given(FEW, st.data())
def test_equal_scores_are_averaged_over_all_orders(values, data):
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
def test_chance_is_that_of_random_scores(sounds, same, top):
    """Equal scores against 6,000 random rankings."""
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
