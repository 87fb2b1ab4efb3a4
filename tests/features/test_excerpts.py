"""Curves of a video from excerpts of the training set: events, strikes, stillness, swell."""

import dataclasses

import numpy as np
import pytest

from v2s_jax.checkpoints import load_params
from v2s_jax.config import ExtractorConfig
from v2s_jax.features.controls import CONTROLS_PER_FRAME, MOTION_DIM, category_range
from v2s_jax.features.excerpts import (
    EVENT_ONSET,
    EXCERPT_FRAMES,
    EXCERPTS,
    MEDIAN,
    STRIKE,
    ExcerptPlayer,
    MotionTracker,
    decode,
    draw_controls,
    encode,
)
from v2s_jax.pretrained import PRETRAINED

GAP = 8
STEP = 1 / 61
MOVING = 0.6


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


def play(player: ExcerptPlayer, tracker: MotionTracker, *activities: float) -> np.ndarray:
    return np.stack([player.next(tracker.update(activity)) for activity in activities])


def is_event(curves: np.ndarray) -> np.ndarray:
    return curves[:, CONTROLS_PER_FRAME:].max(axis=1) >= EVENT_ONSET


def usual(events: int) -> bool:
    return 400 / GAP * 0.5 < events < 400 / GAP * 1.5


def test_excerpts_are_stored_to_half_a_step():
    motions = [barks(seed, frames) for seed, frames in enumerate((32, 50, 32, 40, 33, 45, 32))]
    decoded = decode(encode(motions))
    assert len(decoded) == EXCERPTS and set(map(len, decoded)) == {EXCERPT_FRAMES}
    np.testing.assert_allclose(decoded[0], motions[0], atol=STEP / 2)
    np.testing.assert_allclose(decoded[-1], motions[-1], atol=STEP / 2)
    assert len(decode(encode(motions[:2]))) == 2
    assert list(map(len, decode(encode([barks(0, 3), barks(1, 9), barks(2, 32)])))) == [9, 32]


def test_a_moving_video_gets_curves_like_those_of_the_training_set():
    curves = play(ExcerptPlayer(BOTH, DOG), MotionTracker(), *[MOVING] * 400)
    at = np.flatnonzero(is_event(curves))
    assert usual(len(at))
    for start in at[at < 396]:
        peak, after = curves[start, 0], curves[start + 2, 0]
        assert after == pytest.approx(0.4 * peak, abs=2 * STEP)


@pytest.mark.parametrize("activity", [0.0, 0.1, 0.9])
def test_a_video_whose_motion_never_changes_has_the_usual_events(activity):
    curves = play(ExcerptPlayer(BOTH, DOG), MotionTracker(), *[activity] * 400)
    assert usual(is_event(curves).sum())
    blip = play(ExcerptPlayer(BOTH, DOG), MotionTracker(), 0.02, *[0.0] * 400)
    assert usual(is_event(blip).sum())


def starting_with(event: np.ndarray) -> np.ndarray:
    """An excerpt that begins with an event, whose onset lasts three video frames."""
    motion = event.copy()
    motion[4:7, CONTROLS_PER_FRAME] = 0.9
    return motion[4:]


@pytest.mark.parametrize("rest", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("excerpt", [barks, lambda seed: starting_with(barks(seed))])
def test_no_event_begins_while_what_moved_rests(excerpt, rest):
    """A rest lasts at most until the motion before it is forgotten."""
    player, tracker = (
        ExcerptPlayer(config_of([excerpt(seed) for seed in range(9)]), 0),
        MotionTracker(),
    )
    play(player, tracker, *[MOVING] * 30, *[rest] * 12)
    assert not is_event(play(player, tracker, *[rest] * 50)).any()
    assert is_event(play(player, tracker, *[rest] * 300)).any()


def test_a_strike_is_an_event_in_its_own_video_frame_but_not_too_soon_after_another():
    player, tracker = ExcerptPlayer(BOTH, DOG), MotionTracker()
    play(player, tracker, *[MOVING] * 12, *[0.0] * 20)
    assert is_event(play(player, tracker, STRIKE)).all()
    assert not is_event(play(player, tracker, *[0.0, STRIKE] * (GAP // 2 - 1), 0.0)).any()
    assert is_event(play(player, tracker, STRIKE)).all()


def test_stronger_motion_is_louder():
    def peak(activity: float) -> float:
        player, tracker = ExcerptPlayer(BOTH, DOG), MotionTracker()
        strikes = [0.0, activity, *[0.0] * (GAP - 2)]
        return np.mean([play(player, tracker, *strikes)[1, 0] for _ in range(40)])

    assert peak(0.2) + 0.2 < peak(0.9)


def test_a_steady_sound_swells_with_motion_within_its_range():
    def mean(activity: float) -> float:
        player, tracker = ExcerptPlayer(BOTH, HUM), MotionTracker()
        play(player, tracker, *[activity] * 40)
        return play(player, tracker, *[activity] * 200)[:, :CONTROLS_PER_FRAME].mean()

    still, neutral, moving = mean(0.0), mean(MEDIAN), mean(1.0)
    assert neutral == pytest.approx(0.8, abs=0.02)
    assert still == pytest.approx(0.76, abs=0.02) and moving == pytest.approx(0.84, abs=0.02)


def test_the_pretrained_model_knows_what_is_steady():
    extraction = load_params(PRETRAINED["real"])[0].extraction
    assert extraction.categories and extraction.control_excerpts
    for number, name in enumerate(extraction.categories):
        excerpts = decode(extraction.control_excerpts[number])
        assert max(map(len, excerpts)) >= EXCERPT_FRAMES - 1
        player = ExcerptPlayer(extraction, number)
        assert player.is_steady == (name in ("chainsaw", "rain", "sea_waves")), name
        if player.is_steady:
            loudness = [
                play(ExcerptPlayer(extraction, number), MotionTracker(), *[activity] * 200)[:, 0]
                for activity in (0.0, 1.0)
            ]
            assert loudness[0].mean() + 0.01 < loudness[1].mean(), name
            assert loudness[0].min() > 0.3  # no holes where one excerpt follows another


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
        for activity in (0.0, MOVING):
            player, tracker = ExcerptPlayer(config, 0), MotionTracker()
            curves = play(player, tracker, *[activity, MOVING] * 25, *[0.0] * 50)
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
