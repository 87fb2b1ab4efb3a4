"""Loudness and what it should follow: true audio does, noise and other clips' audio do not."""

import numpy as np
import pytest

from tests.evaluation.audio import noise, synthetic_clips
from v2s_jax.config import TINY
from v2s_jax.evaluation.following import (
    FLAT,
    ONE_CLIP,
    Following,
    activity,
    correlate,
    evaluate_following,
    follow,
    read_cues,
)
from v2s_jax.features.controls import controls_of_sound
from v2s_jax.features.pixels import MOTION_DIM

CLOCK = TINY.clock


@pytest.fixture(scope="module")
def barks() -> list[np.ndarray]:
    return [clip.waveform for clip in synthetic_clips("dog", "test", 5, 16)]


def test_audio_follows_its_own_controls(barks):
    controls = [controls_of_sound(one, CLOCK, "dog", ["dog"]) for one in barks]
    cues = read_cues("controls", [one.motion for one in controls])
    assert (cues.name, cues.per_frame) == ("loudness of the controls", 4)
    rows = [follow(one, CLOCK, cues, clip, (clip + 1) % 5) for clip, one in enumerate(barks)]
    row = evaluate_following(rows, seed=0)
    assert row.correlation.value == pytest.approx(1.0, abs=1e-3)
    assert row.shuffled.value < 0.7
    difference = row.own_minus_shuffled
    assert difference.value == pytest.approx(row.correlation.value - row.shuffled.value)
    assert difference.low > 0
    quiet = [follow(0.1 * one, CLOCK, cues, clip, clip) for clip, one in enumerate(barks)]
    assert [one.own for one in quiet] == pytest.approx([one.own for one in rows], abs=0.05)
    hiss = [follow(noise(n, 0.1, len(one)), CLOCK, cues, n, n) for n, one in enumerate(barks)]
    assert abs(evaluate_following(hiss, seed=0).correlation.value) < 0.2


def test_activity_is_the_log_of_speed():
    """Speeds of 0, of 0.05 and 3 px, which are the limits, and of their geometric mean."""
    speeds = np.array([0.0, 0.05, np.sqrt(0.05 * 3.0), 3.0, 9.0])
    motion = np.zeros((5, MOTION_DIM))
    motion[:, : MOTION_DIM // 4] = speeds[:, None]  # to the right
    assert activity(motion) == pytest.approx([0, 0, 0.5, 1, 1])


def test_loudness_follows_motion():
    """Noise that swells with the speed."""
    swell = np.sin(np.linspace(0, np.pi, 16))
    motion = np.zeros((16, MOTION_DIM), np.float16)
    motion[:, : MOTION_DIM // 4] = (0.05 * 60**swell)[:, None]
    cues = read_cues("pixels", [motion, np.zeros_like(motion)])
    samples = CLOCK.samples_per_video_frame
    audio = noise(0, 0.1, 16 * samples) * np.repeat(10 ** (swell - 1), samples).astype(np.float32)
    own, shuffled = follow(audio, CLOCK, cues, 0, 1)
    assert own > 0.98
    assert shuffled is None  # nothing moves there
    late, _ = follow(np.roll(audio, 6 * samples), CLOCK, cues, 0, 0)
    assert late < 0.5


def test_what_is_flat_or_alone_has_a_reason():
    assert correlate(np.zeros(4), np.arange(4.0)) is None
    assert correlate(np.arange(1.0), np.arange(4.0)) is None
    assert correlate(np.arange(3.0), np.arange(4.0)) == pytest.approx(1.0)
    flat = evaluate_following([Following(None, None)] * 2, seed=0)
    assert (flat.correlation.value, flat.correlation.reason) == (None, FLAT)
    alone = evaluate_following([Following(0.5, None)], seed=0)
    assert (alone.correlation.value, alone.shuffled.reason) == (0.5, ONE_CLIP)
    assert "vgg19" in read_cues("vgg19", [])
