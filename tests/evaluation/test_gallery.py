"""One sound under many videos: the scorer's scores; retrieval by an oracle is perfect."""

import numpy as np
import pytest
from v2s_jax.datasets.synthetic.generator import make_clip

from tests.conftest import random_params, with_model
from tests.probes.clips import SAMPLES, make_batch
from v2s_jax.checkpoints import load_params
from v2s_jax.evaluation import gallery
from v2s_jax.evaluation.gallery import VideoGallery
from v2s_jax.evaluation.likelihood import Scorer, Sound
from v2s_jax.evaluation.retrieval import (
    LESS_LOG_MEAN,
    LESS_UNCONDITIONAL,
    LIKELIHOOD,
    RESOLUTION_NATS,
    retrieval_rows,
    score_normalizations,
)
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.quantize import quantize
from v2s_jax.pretrained import DEFAULT_CHECKPOINT

VIDEO_FRAMES = 3
VARIANTS = [
    {"variant": "frame"},
    {"variant": "seq"},
    pytest.param({"variant": "flow", "cell": "lstm", "rnn_layers": 2}, marks=pytest.mark.slow),
    pytest.param({"variant": "frame", "tiers": 2, "frame_size": 16}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c.values())))
def test_scores_are_the_scorer_s_in_any_order_and_number_of_videos(tiny, changes, monkeypatch):
    """Five videos on tiles of three and two rows; a sound that ends inside a chunk."""
    monkeypatch.setattr(gallery, "MOST_ROWS", 3)
    config = with_model(tiny, **changes)
    params = random_params(config)
    random = np.random.default_rng(0)
    levels = random.integers(100, 156, 2_500).astype(np.uint8)
    features = random.random((5, VIDEO_FRAMES, config.model.feature_dim)).astype(np.float16)
    wanted = [
        score.bits
        for score in Scorer(config, params).score_all([Sound(levels, f) for f in features])
    ]
    told: list[int] = []
    found = VideoGallery(config, params, features).bits(levels, told.append)
    assert sum(told) == 5 * len(levels)
    per_sample = 1e-5 * len(levels)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=per_sample)
    backwards = VideoGallery(config, params, features[::-1]).bits(levels)[::-1]
    np.testing.assert_allclose(backwards, wanted, rtol=0, atol=per_sample)


def by_measure(rows: list[dict], score: str) -> dict[tuple[str, str, str], dict]:
    return {
        (row["right"], row["among"], row["measure"]): row for row in rows if row["score"] == score
    }


def test_an_oracle_retrieves_perfectly_and_a_blind_model_by_chance():
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
    rows = retrieval_rows("oracle", score_normalizations(oracle, None), own, categories, seed=0)
    assert {row["value"] for row in rows} == {1.0}
    assert all(row["low"] is None and "alike" in row["no_interval"] for row in rows)

    loudness = np.tile(np.random.default_rng(0).normal(size=len(codes)), (len(codes), 1))
    blind = retrieval_rows(
        "blind", score_normalizations(loudness, loudness[0]), own, categories, seed=0
    )
    for score in (LESS_LOG_MEAN, LESS_UNCONDITIONAL):  # all equal: no order at all
        for row in by_measure(blind, score).values():
            assert row["value"] == pytest.approx(row["chance"])
    instance = by_measure(blind, LIKELIHOOD)["instance", "all", "top_1"]
    assert instance["value"] == pytest.approx(1 / len(codes)) == instance["chance"]


def test_a_table_of_scores_by_hand():
    """Two queries, four sounds: a1 and a2 of one category, b1 and b2 of the other."""
    scores = np.array([[-5.0, -4, -4, -9], [-7.0, -8, -2, -3]])
    rows = retrieval_rows(
        "m", score_normalizations(scores, None), [0, 3], ["a", "a", "b", "b"], seed=0
    )
    found = {key: row["value"] for key, row in by_measure(rows, LIKELIHOOD).items()}
    assert found["instance", "all", "top_1"] == 0
    assert found["instance", "all", "mean_reciprocal_rank"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["instance", "category", "mean_reciprocal_rank"] == pytest.approx(1 / 2)
    assert found["category", "all", "top_1"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["category", "all", "top_5"] == 1
    chance = {key: row["chance"] for key, row in by_measure(rows, LIKELIHOOD).items()}
    assert chance["category", "all", "top_1"] == pytest.approx(1 / 2)
    assert chance["instance", "all", "mean_reciprocal_rank"] == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )
    mutual = score_normalizations(scores, None)[LESS_LOG_MEAN]
    mean = np.log((np.exp(-5) + np.exp(-7)) / 2)
    assert mutual[0, 0] == pytest.approx(-5 - mean, abs=RESOLUTION_NATS)


@pytest.mark.slow
def test_the_shipped_model_finds_a_drum_s_own_sound():
    """Six drums of 1.5 s; chance is one of six. Easy sounds win unless they are corrected."""
    config, params = load_params(DEFAULT_CHECKPOINT)
    clips = [make_clip("drum", "test", index, 0, config.clock, 24) for index in range(6)]
    features = np.stack([PixelsExtractor().extract(clip.frames).appearance for clip in clips])
    videos = VideoGallery(config, params, features)
    model = config.model
    sounds = [quantize(clip.waveform, model.q_levels, model.quantization) for clip in clips]
    likelihood = -np.stack([videos.bits(levels) for levels in sounds], axis=1) * np.log(2)
    rows = retrieval_rows(
        "demo", score_normalizations(likelihood, None), range(6), ["drum"] * 6, seed=0
    )
    assert by_measure(rows, LESS_LOG_MEAN)["instance", "all", "top_1"]["value"] == 1.0
