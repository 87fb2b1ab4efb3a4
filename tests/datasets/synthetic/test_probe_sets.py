"""The probes of the synthetic set do what they claim, in every category."""

import dataclasses
import functools
import importlib
import itertools

import numpy as np
import pytest
from scipy.signal import correlate

from tests.permutation_test import p_value, timbre
from v2s_jax import media
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic import generator
from v2s_jax.datasets.synthetic.encoding import INTRA_ONLY_PROBES, write_video
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.probes import (
    CARD_PLACE_PX,
    CARD_RADIUS_PX,
    FILE_PROBES,
    PROBES,
    WHEEL_PLACE_PX,
    WHEEL_RADIUS_PX,
    card_frames,
    clip_streams,
)
from v2s_jax.datasets.synthetic.scenes import drum
from v2s_jax.datasets.synthetic.sound import SPEED_OF_SOUND_M_SEC
from v2s_jax.errors import InputError

pytestmark = pytest.mark.slow  # the golden hashes are the fast guard

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz
SHORT = 8
"""Pictures of most clips here: half a second."""

SEEN = {
    "baby_crying": ("radius_px", ("cry_sec", "length_sec", "strength")),
    "chainsaw": ("body_px", ("bite_sec", "leave_sec", "engine_hz")),
    "dog": ("radius_px", ("bark_sec", "strength")),
    "drum": ("radius_px", ("hit_sec", "strength")),
    "fireworks": ("distance_m", ("burst_sec", "gold")),
    "helicopter": ("cabin_m", ("distance_m", "blade_pass_hz")),
    "printer": ("carriage_px", ("start_sec", "knock_sec", "speed_px_sec")),
    "rail_transport": ("height_m", ("speed_m_sec",)),
    "snoring": ("chest_px", ("breath_sec", "depth")),
    "water_flowing": ("bowl_radius_px", ("flux_at_pictures",)),
}
"""Of each category's state: the leading size, and what happens."""

IN_EVERY_RUN = ("drum", "rail_transport")
every_category = pytest.mark.parametrize(
    "category",
    [
        pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow)
        for name in CATEGORIES
    ],
)


@functools.cache
def clip(category: str, index: int, probe: str, video_frames: int = SHORT) -> SyntheticClip:
    return make_clip(category, "train", index, 0, CLOCK, video_frames, probe)


def moves(made: SyntheticClip) -> list:
    return [made.state[name] for name in SEEN[made.category][1]]


def is_heard(made: SyntheticClip) -> bool:
    return bool(made.track.known.any() or made.track.fresh_variance.any())


def test_every_state_is_named_above():
    assert set(SEEN) == set(CATEGORIES)


# --- appearance


@pytest.mark.slow
@every_category
def test_in_appearance_all_move_alike_and_sound_follows_the_size(category):
    """Clips do the same; how they differ in timbre is told by the leading size (permuted)."""
    made = [clip(category, index, "appearance", 16) for index in range(20)]
    assert all(moves(m) == moves(made[0]) for m in made)
    assert all(is_heard(m) for m in made)
    sizes = np.array([m.state[SEEN[category][0]] for m in made])
    assert np.unique(sizes).size == len(made)
    sounds = timbre([m.waveform for m in made])
    assert p_value(sizes[:, None, None], sounds) <= 0.001


# --- motion


def wheel(frames: np.ndarray) -> np.ndarray:
    """The corner of the pictures that holds the wheel, grey."""
    reach = int(WHEEL_PLACE_PX[0] + WHEEL_RADIUS_PX + 2)
    return frames[:, :reach, :reach].astype(float).mean(axis=-1)


def decoded(made: SyntheticClip, probe: str, folder) -> np.ndarray:
    path = folder / f"{made.clip_id}.mp4"
    write_video(path, made, CLOCK, probe)
    return np.stack(list(media.read_video_frames(media.probe(path), CLOCK, 128, 128)))


@every_category
def test_in_motion_clips_differ_in_the_wheel_alone_and_sound_as_it_turns(category):
    made = [clip(category, index, "motion") for index in range(6)]
    clockwise = [bool(m.state["wheel_clockwise"]) for m in made]
    assert [is_heard(m) for m in made] == clockwise
    assert 0 < sum(clockwise) < len(made)
    for m in made:
        rest = m.frames.astype(int) - made[0].frames
        reach = int(WHEEL_PLACE_PX[0] + WHEEL_RADIUS_PX + 2)
        rest[:, :reach, :reach] = 0
        assert not rest.any()
        assert len(m.events_sec) == 0 or bool(m.state["wheel_clockwise"])


@pytest.mark.slow
@every_category
def test_one_decoded_picture_says_nothing_of_motion_and_two_do(category, tmp_path):
    """Single pictures as a file gives them, by permuted labels; the change to the next picture
    shows that the test would find it."""
    turning: dict[float, list[SyntheticClip]] = {0.0: [], 1.0: []}
    for index in itertools.count():
        made = clip(category, index, "motion", 6)
        turning[made.state["wheel_clockwise"]].append(made)
        if min(map(len, turning.values())) >= 5:
            break
    made = [m for pair in zip(*turning.values(), strict=False) for m in pair]
    label = np.array([m.state["wheel_clockwise"] for m in made])
    shown = np.stack([wheel(decoded(m, "motion", tmp_path)) for m in made])
    pictures = shown.reshape(len(made), 6, -1)
    assert p_value(pictures, label) > 0.01 / len(CATEGORIES)
    angle = np.array([turned(a, b) for m in shown for a, b in itertools.pairwise(m)])
    assert p_value(angle.reshape(len(made), 5, 1), label) < 0.01


def turned(before: np.ndarray, after: np.ndarray) -> float:
    """The sense in which grey moves about the wheel's hub: the sign of d grey x grey by angle."""
    rows, columns = np.mgrid[: len(before), : len(before)] - WHEEL_PLACE_PX[0]
    along_y, along_x = np.gradient(0.5 * (before + after))
    ring = np.hypot(rows, columns) < WHEEL_RADIUS_PX
    by_angle = (columns * along_y - rows * along_x)[ring]
    return float(np.sign(-((after - before)[ring] * by_angle).sum()))


# --- foresight


@every_category
def test_foresight_shows_what_decides_the_sound_only_after_it(category):
    made = [clip(category, index, "foresight") for index in range(8)]
    white = [bool(m.state["card_white"]) for m in made]
    assert 0 < sum(white) < len(white)
    shown = SHORT - card_frames(SHORT)
    x, y, reach = *(int(place) for place in CARD_PLACE_PX), int(CARD_RADIUS_PX) // 2
    upper_half = np.s_[shown:, y - reach : y, x - reach : x + reach]
    for m, is_white in zip(made, white, strict=True):
        np.testing.assert_array_equal(m.frames[:shown], made[0].frames[:shown])
        assert (m.frames[upper_half] == 255 * is_white).all()
        assert is_heard(m) == is_white
        start = shown * CLOCK.samples_per_video_frame
        assert not m.track.known[start:].any() and not m.track.fresh_variance[start:].any()
        assert (m.events_sec < start / RATE_HZ).all()


def one_of_either_card(category: str) -> tuple[SyntheticClip, SyntheticClip]:
    made = (clip(category, index, "foresight") for index in itertools.count())
    shown: dict[float, SyntheticClip] = {}
    while len(shown) < 2:
        m = next(made)
        shown[m.state["card_white"]] = m
    return shown[0.0], shown[1.0]


@pytest.mark.parametrize("category", CATEGORIES)
def test_files_of_foresight_show_nothing_of_the_card_before_it(category, tmp_path):
    black, white = (decoded(m, "foresight", tmp_path) for m in one_of_either_card(category))
    shown = SHORT - card_frames(SHORT)
    np.testing.assert_array_equal(black[:shown], white[:shown])
    assert (black[shown:] != white[shown:]).any()


def test_an_encoder_that_looks_ahead_would_show_it(tmp_path):
    black, white = (decoded(m, "none", tmp_path) for m in one_of_either_card("baby_crying"))
    shown = SHORT - card_frames(SHORT)
    assert (black[:shown] != white[:shown]).any()


@pytest.mark.parametrize("probe", INTRA_ONLY_PROBES)
def test_what_is_decoded_of_a_picture_depends_on_that_picture_alone(probe, tmp_path):
    """So a file's pictures say, each alone, what the drawn ones say: shown backwards, they are the
    same, and an ordinary file's are not."""
    made = clip("fireworks", 0, probe)
    backwards = dataclasses.replace(made, frames=made.frames[::-1])
    for written_as, is_same in ((probe, True), ("none", False)):
        one, other = (decoded(m, written_as, tmp_path) for m in (made, backwards))
        assert (one == other[::-1]).all() == is_same


@pytest.mark.parametrize("probe", ["appearance", "motion", "foresight"])
def test_clips_that_move_alike_are_never_all_silent(probe, monkeypatch):
    """A stage on which nothing happens in half a second (seed 0) is not taken."""
    takes = {}
    for category in ("dog", "drum"):
        for seed in range(3):
            takes[category, seed] = generator._audible_attempt(
                probe, seed, category, False, CLOCK, SHORT
            )
    assert max(takes.values()) > 0
    (category, seed) = max(takes, key=takes.get)
    made = [make_clip(category, "train", i, seed, CLOCK, SHORT, probe) for i in range(6)]
    assert any(is_heard(m) for m in made)


# --- delay


@pytest.mark.slow
@every_category
def test_sound_comes_late_by_the_distance_at_343_m_a_second(category):
    """The lag is found in the waveforms; its slope over the distance is 1 / 343 s/m."""
    distances, lags = [], []
    for index in range(5):
        near, far = (clip(category, index, probe, 20) for probe in ("none", "delay"))
        delay = far.state["distance_m"] / SPEED_OF_SOUND_M_SEC
        assert far.state["delay_sec"] == pytest.approx(delay, abs=1 / RATE_HZ)
        inside = near.events_sec + far.state["delay_sec"] < 20 * 1_024 / RATE_HZ
        kept = near.events_sec[inside] + far.state["delay_sec"]
        np.testing.assert_allclose(far.events_sec, kept)
        lag = lag_samples(near.waveform, far.waveform)
        if lag is not None:
            distances.append(far.state["distance_m"])
            lags.append(lag / RATE_HZ)
    assert len(lags) >= 3
    slope = np.dot(distances, lags) / np.dot(distances, distances)
    assert slope == pytest.approx(1 / SPEED_OF_SOUND_M_SEC, rel=1e-3)
    assert np.ptp(distances) > 10
    assert np.abs(np.array(lags) - slope * np.array(distances)).max() < 2 / RATE_HZ


def lag_samples(near: np.ndarray, far: np.ndarray) -> int | None:
    """By how much the one must be moved for the least to be left of the other; None for silence."""
    near, far = near.astype(float), far.astype(float)
    longest = round(0.65 * RATE_HZ)
    if np.abs(near[: len(near) - longest]).max() < 0.02:
        return None
    matched = correlate(far, near, "full")[len(near) - 1 :][:longest]
    before = np.cumsum(near[::-1] ** 2)[::-1]  # energy from a sample on
    energy = np.array([(near[: len(near) - lag] ** 2).sum() for lag in (0, longest)])
    assert energy[1] > 0 and before[0] == pytest.approx(energy[0])
    total = np.concatenate([[0.0], np.cumsum(near**2)])
    moved = total[len(near) - np.arange(longest)]  # of what stays inside when moved
    return int((moved - 2.0 * matched).argmin())


# --- silence, counterfactual, distractor


@every_category
def test_half_of_the_silent_probe_is_at_rest(category):
    resting = 0
    for index in range(10):
        made = clip(category, index, "silence")
        if clip_streams("silence", 0, category, "train", index, False).at_rest:
            assert (made.frames == made.frames[0]).all()
            assert not is_heard(made)
            assert np.abs(made.waveform).max() < 6 / 1_024  # the background's six sigma
            resting += 1
    assert 1 <= resting <= 9  # 0.2 % of fair coins fall outside


@every_category
def test_counterfactual_pairs_look_alike_and_move_otherwise(category):
    one, other, apart = (clip(category, index, "counterfactual", 12) for index in (4, 5, 6))
    size = SEEN[category][0]
    assert one.state[size] == other.state[size] != apart.state[size]
    assert moves(one) != moves(other)
    assert (one.waveform != other.waveform).any()
    # Where nothing passes both show the same at some time: of a pair, not of clips of two pairs.
    assert shared(one, other) > 0.5
    assert shared(one, other) > 2 * shared(one, apart)


def shared(one: SyntheticClip, other: SyntheticClip) -> float:
    """The share of pixels whose colour is at some time that of the other clip at some time."""
    a, b = (made.frames[:, ::4, ::4].astype(int) for made in (one, other))
    return float((np.abs(a[:, None] - b).max(axis=-1).min(axis=(0, 1)) <= 4).mean())


@every_category
def test_distractor_is_seen_and_not_heard(category):
    plain, disturbed = clip(category, 1, "none"), clip(category, 1, "distractor")
    np.testing.assert_array_equal(disturbed.waveform, plain.waveform)
    np.testing.assert_array_equal(disturbed.events_sec, plain.events_sec)
    assert disturbed.state == plain.state
    assert all((a != b).any() for a, b in zip(plain.frames, disturbed.frames, strict=True))
    moved = [(a != b).any(axis=-1) for a, b in zip(plain.frames, disturbed.frames, strict=True)]
    assert (moved[0] != moved[-1]).any()  # the ball moves


# --- frame rates


def check_frame_rate(category, probe, folder):
    """The file shows the same video frames up to the codec's loss; the sound stays as it is."""
    made = clip(category, 2, "none", 10)
    path = folder / "clip.mp4"
    write_video(path, made, CLOCK, probe)
    video = media.probe(path)
    assert not video.warnings
    shown = np.stack(list(media.read_video_frames(video, CLOCK, 128, 128)))
    assert shown.shape == made.frames.shape
    errors = np.abs(shown.astype(float) - made.frames).mean(axis=(1, 2, 3))
    assert errors.max() < 3  # of 255; a neighbour's picture while much moves is off by more
    np.testing.assert_array_equal(media.read_audio(video, CLOCK), made.waveform)


@pytest.mark.parametrize(
    "probe", ["frame_rate_other", "frame_rate_variable", "frame_rate_dropped", "none"]
)
def test_files_of_any_frame_rate_show_the_same_video_frames(probe, tmp_path):
    check_frame_rate("drum", probe, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["frame_rate_other", "frame_rate_variable", "frame_rate_dropped"])
@pytest.mark.parametrize("category", [name for name in CATEGORIES if name != "drum"])
def test_files_of_every_category_show_the_same_video_frames(category, probe, tmp_path):
    check_frame_rate(category, probe, tmp_path)


# --- what makes no sense, and sizes


@pytest.mark.parametrize(
    ("probe", "video_frames", "message"),
    [
        ("motion", 1, "at least 2, because it shows in the change"),
        ("counterfactual", 1, "at least 2, because it shows in the change"),
        ("foresight", 1, "at least 2, because it shows after the sound"),
        ("delay", 9, "at least 11, because a delayed sound"),
    ],
)
def test_clips_too_short_for_their_probe_are_refused(probe, video_frames, message):
    for category in CATEGORIES:
        with pytest.raises(InputError, match=message) as caught:
            make_clip(category, "train", 0, 0, CLOCK, video_frames, probe)
        assert "\n" not in str(caught.value)


def test_a_scene_that_cannot_sound_in_its_time_is_refused():
    """A drum's first hit comes after 0.3 s."""
    with pytest.raises(InputError, match="no sound in 50 attempts") as caught:
        make_clip("drum", "train", 0, 0, CLOCK, 3, "motion")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@every_category
def test_every_probe_is_made_of_every_category_also_beyond_its_sizes(category):
    for probe in (name for name in PROBES if name not in FILE_PROBES):
        made = make_clip(category, "extrapolation", 0, 1, CLOCK, 11, probe)
        assert made.frames.shape[0] == 11
        assert 0 < np.abs(made.waveform).max() < 0.95


@pytest.mark.parametrize("category", CATEGORIES)
def test_leading_sizes_of_the_extrapolation_split_lie_on_both_sides_of_the_others(category):
    module = importlib.import_module(f"v2s_jax.datasets.synthetic.scenes.{category}")
    name = "nearness" if category == "fireworks" else SEEN[category][0]

    def sizes(split: str) -> np.ndarray:
        looks = [
            clip_streams("none", 0, category, split, index, split == "extrapolation")[0]
            for index in range(200)
        ]
        return np.array([getattr(module.choose_look(look.stream("look")), name) for look in looks])

    train, test, outside = map(sizes, ("train", "test", "extrapolation"))
    low, high = train.min(), train.max()
    width = high - low
    assert low - 0.05 * width < test.min() and test.max() < high + 0.05 * width
    extrapolate = np.maximum(low - outside, outside - high) / width
    assert (extrapolate > 0).all() and extrapolate.max() < 0.25
    assert 50 < (outside < low).sum() < 150


def test_clips_of_the_extrapolation_split_have_such_sizes():
    low, high = drum.RADIUS_PX
    for split, inside in (("train", True), ("test", True), ("extrapolation", False)):
        radii = [
            make_clip("drum", split, index, 0, CLOCK, 2).state["radius_px"] for index in range(16)
        ]
        assert all((low <= radius <= high) == inside for radius in radii)
        assert all(low - 0.25 * (high - low) <= r <= high + 0.25 * (high - low) for r in radii)
