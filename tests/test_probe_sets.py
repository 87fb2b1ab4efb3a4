"""The probes of the synthetic set do what they claim."""

import numpy as np
import pytest
from scipy.signal import correlate

from data.synthetic import drum
from data.synthetic.encoding import write_video
from data.synthetic.generator import CATEGORIES, make_clip
from data.synthetic.probes import SPEED_OF_SOUND_M_SEC
from v2s_jax import media
from v2s_jax.config import Clock

CLOCK, VIDEO_FRAMES = Clock(), 24


def clip(category, index, probe, video_frames=VIDEO_FRAMES):
    return make_clip(category, "train", index, 0, CLOCK, video_frames, probe)


def test_distractor_is_seen_and_not_heard():
    for category in CATEGORIES:
        plain, disturbed = clip(category, 1, "none"), clip(category, 1, "distractor")
        np.testing.assert_array_equal(disturbed.track.known, plain.track.known)
        np.testing.assert_array_equal(disturbed.events_sec, plain.events_sec)
        assert all((a != b).any() for a, b in zip(plain.frames, disturbed.frames, strict=True))


def test_counterfactual_pairs_look_alike_and_move_otherwise():
    for category in ("drum", "dog", "printer"):
        one, other = (clip(category, index, "counterfactual") for index in (4, 5))
        apart = clip(category, 6, "counterfactual")
        assert (one.frames != other.frames).any()
        assert (one.track.known != other.track.known).any()
        # Corners are background: a pair shares it, the next pair has its own.
        corner = np.s_[:, :4, :4]
        assert np.abs(one.frames[corner].astype(int) - other.frames[corner]).max() <= 4
        assert np.abs(one.frames[corner].astype(int) - apart.frames[corner]).max() > 4


def test_half_of_the_silent_probe_is_at_rest():
    resting = 0
    for index in range(24):
        made = clip("drum", index, "silence")
        still = (made.frames == made.frames[0]).all()
        assert still == (not made.track.known.any())
        resting += still
    assert 6 <= resting <= 18  # 0.4 % of fair coins fall outside


def test_sound_comes_late_by_the_distance():
    for index in range(3):
        near, far = clip("drum", index, "none"), clip("drum", index, "delay")
        delay = far.state["distance_m"] / SPEED_OF_SOUND_M_SEC
        assert far.state["delay_sec"] == pytest.approx(delay, abs=1 / 16_000)
        lag = correlate(far.track.known, near.track.known).argmax() - (len(near.track.known) - 1)
        assert lag / 16_000 == pytest.approx(delay, abs=2 / 16_000)
        kept = near.events_sec + far.state["delay_sec"]
        inside = kept < VIDEO_FRAMES * 1_024 / 16_000
        np.testing.assert_allclose(far.events_sec, kept[inside])


def test_in_appearance_all_move_alike():
    """Leading size differs, and with it the sound; the times do not."""
    one, other = clip("drum", 0, "appearance"), clip("drum", 1, "appearance")
    np.testing.assert_allclose(one.events_sec, other.events_sec)
    assert one.state != other.state
    assert (one.track.known != other.track.known).any()


def test_foresight_shows_its_card_after_the_sound():
    made = [clip("drum", index, "foresight") for index in range(12)]
    white = [bool(m.state["card_white"]) for m in made]
    assert 0 < sum(white) < len(white)
    shown = VIDEO_FRAMES - VIDEO_FRAMES // 8
    for a in made:
        np.testing.assert_array_equal(a.frames[:shown], made[0].frames[:shown])
        assert not a.track.known[shown * 1_024 :].any()
        assert bool(a.track.known.any()) == bool(a.state["card_white"])


def decoded(made, folder):
    path = folder / f"{made.clip_id}.mp4"
    write_video(path, made, CLOCK)
    return np.stack(list(media.read_video_frames(media.probe(path), CLOCK, 128, 128)))


def nearest_mean_score(pictures, labels):
    """Accuracy of a nearest-mean classifier on single pictures, each clip left out in turn."""
    right = 0
    for out in range(len(labels)):
        others = np.arange(len(labels)) != out
        means = [pictures[others & (labels == label)].mean(axis=(0, 1)) for label in (0, 1)]
        apart = [((pictures[out] - mean) ** 2).sum(axis=(1, 2)) for mean in means]
        right += np.mean((apart[1] < apart[0]) == bool(labels[out]))
    return right / len(labels)


@pytest.mark.slow
def test_one_picture_says_nothing_of_motion(tmp_path):
    """A permutation test on decoded pictures: no better than on shuffled labels."""
    made = [clip("water_flowing", index, "motion", 8) for index in range(32)]
    labels = np.array([int(m.state["wheel_clockwise"]) for m in made])
    assert 8 <= labels.sum() <= 24
    for m in made:
        heard = m.track.known.any() or m.track.fresh_variance.any()
        assert bool(heard) == bool(m.state["wheel_clockwise"])
    wheel = np.stack([decoded(m, tmp_path)[:, :36, :36].mean(axis=-1) for m in made])
    reached = nearest_mean_score(wheel, labels)
    random = np.random.default_rng(0)
    by_chance = [nearest_mean_score(wheel, random.permutation(labels)) for _ in range(99)]
    assert np.mean([reached <= score for score in by_chance]) > 0.01


@pytest.mark.parametrize(
    "probe", ["frame_rate_other", "frame_rate_variable", "frame_rate_dropped", "none"]
)
def test_files_of_any_frame_rate_show_the_same_video_frames(probe, tmp_path):
    """Up to the codec's loss, which the ordinary file has too; the sound stays as it is."""
    made = clip("drum", 2, "none")
    path = tmp_path / "clip.mp4"
    write_video(path, made, CLOCK, probe)
    video = media.probe(path)
    assert not video.warnings
    shown = np.stack(list(media.read_video_frames(video, CLOCK, 128, 128)))
    assert shown.shape == made.frames.shape
    errors = np.abs(shown.astype(float) - made.frames).mean(axis=(1, 2, 3))
    assert errors.max() < 3  # of 255; a neighbour's picture while the stick falls is off by more
    np.testing.assert_array_equal(media.read_sound(video, CLOCK), made.waveform)


def test_sizes_of_the_extrapolation_split_lie_outside_the_others():
    low, high = drum.RADIUS_PX
    for split, inside in (("train", True), ("test", True), ("extrapolation", False)):
        radii = [
            make_clip("drum", split, index, 0, CLOCK, 2).state["radius_px"] for index in range(16)
        ]
        assert all((low <= radius <= high) == inside for radius in radii)
        assert all(low - 0.25 * (high - low) <= r <= high + 0.25 * (high - low) for r in radii)
