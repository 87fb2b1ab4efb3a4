"""Curves of a video from excerpts of the training set: events, strikes, stillness, swell."""

import dataclasses

import numpy as np
import pytest

from v2s_jax.config import ExtractorConfig
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM, category_range
from v2s_jax.features.excerpts import (
    EVENT_ONSET,
    EXCERPT_FRAMES,
    EXCERPTS,
    MEDIAN,
    STRIKE,
    ExcerptPlayer,
    decode,
    draw_controls,
    encode,
)

GAP = 8
STEP = 1 / 61
MOVING, STILL = 0.6, 0.0


def barks(seed: int, frames: int = 32) -> np.ndarray:
    """Silence, and a bark every GAP video frames that dies away within four."""
    random = np.random.default_rng(seed)
    motion = np.zeros((frames, MOTION_DIM))
    for start in range(4, frames - 4, GAP):
        peak = random.uniform(0.5, 1)
        motion[start : start + 4, :CONTROLS_PER_FRAME] = peak * np.array(
            [[1.0], [0.7], [0.4], [0.1]]
        )
        motion[start, CONTROLS_PER_FRAME] = 0.9
    return motion


def hum(seed: int, frames: int = 32) -> np.ndarray:
    """A steady sound that hardly varies."""
    motion = np.full((frames, MOTION_DIM), 0.05)
    motion[:, :CONTROLS_PER_FRAME] = np.random.default_rng(seed).uniform(0.7, 0.9, (frames, 1))
    return motion


def config_of(*categories: list[np.ndarray]) -> ExtractorConfig:
    ranges = [category_range([motion.astype(np.float16) for motion in each]) for each in categories]
    return ExtractorConfig(
        categories=tuple("abc"[: len(categories)]),
        control_quantiles=tuple(np.concatenate([each.quantiles for each in ranges]).tolist()),
        control_memory=tuple(each.memory for each in ranges),
        control_excerpts=tuple(map(encode, categories)),
    )


BOTH = config_of([barks(seed) for seed in range(9)], [hum(seed) for seed in range(9)])
DOG, HUM = range(2)


def play(player: ExcerptPlayer, activity: float | None, frames: int) -> np.ndarray:
    return np.stack([player.next(activity, 0.0) for _ in range(frames)])


def is_event(curves: np.ndarray) -> np.ndarray:
    return curves[:, CONTROLS_PER_FRAME:].max(axis=1) >= EVENT_ONSET


def test_excerpts_are_stored_to_half_a_step():
    motions = [barks(seed, frames) for seed, frames in enumerate((5, 32, 50, 7, 9, 40, 32, 11))]
    decoded = decode(encode(motions))
    assert len(decoded) == EXCERPTS
    np.testing.assert_allclose(decoded[0], motions[0], atol=STEP / 2)
    np.testing.assert_allclose(decoded[-1], motions[-1], atol=STEP / 2)
    assert max(map(len, decoded)) == EXCERPT_FRAMES
    assert len(decode(encode(motions[:2]))) == 2


def test_a_moving_video_gets_curves_like_those_of_the_training_set():
    curves = play(ExcerptPlayer(BOTH, DOG), MOVING, 400)
    at = np.flatnonzero(is_event(curves))
    assert 400 / GAP * 0.5 < len(at) < 400 / GAP * 1.5
    for start in at[at < 396]:
        peak, after = curves[start, 0], curves[start + 2, 0]
        assert after == pytest.approx(0.4 * peak, abs=2 * STEP)


def test_while_motion_rests_there_are_no_events():
    player = ExcerptPlayer(BOTH, DOG)
    play(player, MOVING, 12)
    play(player, STILL, 12)  # the mean activity falls
    curves = play(player, STILL, 200)
    assert not is_event(curves).any()
    assert curves[:, :CONTROLS_PER_FRAME].max() < 0.1 + STEP


@pytest.mark.parametrize("activity", [0.0, 0.1, None])
def test_a_video_that_never_moves_has_the_usual_events(activity):
    curves = play(ExcerptPlayer(BOTH, DOG), activity, 400)
    assert 400 / GAP * 0.5 < is_event(curves).sum() < 400 / GAP * 1.5


def test_a_strike_is_an_event_in_its_own_video_frame_but_not_too_soon_after_another():
    player = ExcerptPlayer(BOTH, DOG)
    play(player, MOVING, 12)
    play(player, STILL, 20)
    assert is_event(player.next(STRIKE, STRIKE)[None]).all()
    soon = [player.next(STRIKE, STRIKE) for _ in range(GAP - 1)]
    assert not is_event(np.stack(soon)).any()
    assert is_event(player.next(STRIKE, STRIKE)[None]).all()


def test_stronger_motion_is_louder():
    def peak(activity: float) -> float:
        player = ExcerptPlayer(BOTH, DOG)
        return np.mean([player.next(activity, STRIKE)[0] for _ in range(GAP * 40)][::GAP])

    assert peak(0.1) + 0.2 < peak(0.9)


def test_a_steady_sound_swells_with_motion_within_its_range():
    def mean(activity: float) -> float:
        player = ExcerptPlayer(BOTH, HUM)
        play(player, activity, 40)
        return play(player, activity, 200)[:, :CONTROLS_PER_FRAME].mean()

    still, neutral, moving = mean(STILL), mean(MEDIAN), mean(1.0)
    assert neutral == pytest.approx(0.8, abs=0.02)
    assert still == pytest.approx(0.75, abs=0.03) and moving == pytest.approx(0.85, abs=0.03)


def test_curves_without_a_video_follow_from_the_seed():
    first, again, other = (draw_controls(BOTH, DOG, 100, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.motion, again.motion)
    assert (first.motion != other.motion).any()
    assert first.appearance[:, DOG].all() and first.appearance.sum() == 100
    assert 5 < is_event(first.motion).sum() < 20


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_excerpts_of_any_length_can_be_played(frames):
    for motion in (np.ones((frames, MOTION_DIM)), barks(0)[4 : 4 + frames], hum(0, frames)):
        config = config_of([motion])
        for activity in (STILL, MOVING):
            player = ExcerptPlayer(config, 0)
            curves = np.stack([player.next(activity, STRIKE * (i % 3)) for i in range(50)])
            assert np.isfinite(curves).all()
            assert curves.min() >= 0 and curves.max() <= 1


def test_models_without_excerpts_get_curves_of_the_range_and_pace_of_their_category():
    random = np.random.default_rng(0)
    slow = np.repeat(random.uniform(0.5, 0.7, 200), 8)
    quick = random.uniform(0.0, 1.0, 1_600)
    motions = [
        [np.concatenate([curve.reshape(-1, 4), curve.reshape(-1, 4) / 2], axis=1)]
        for curve in (slow, quick)
    ]
    config = dataclasses.replace(config_of(*motions), control_excerpts=None)
    for number, curve in enumerate((slow, quick)):
        loudness = draw_controls(config, number, 400, seed=1).motion[:, :4].reshape(-1)
        np.testing.assert_allclose(
            np.percentile(loudness, [10, 50, 90]), np.percentile(curve, [10, 50, 90]), atol=0.12
        )
        neighbours = np.corrcoef(loudness[1:].astype(float), loudness[:-1].astype(float))[0, 1]
        assert config.control_memory is not None
        assert neighbours == pytest.approx(config.control_memory[number], abs=0.1)
