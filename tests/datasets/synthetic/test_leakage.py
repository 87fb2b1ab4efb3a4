"""Nothing but the intended causes predicts a synthetic clip's sound: not name, order, size, frame.

Every claim is a permutation test (`permutation_test.py`) with fixed seeds; 1 % is the chance that
any of them fails by accident. Each has a counterpart in which the
same test on a thing that does tell finds it.
"""

import functools

import numpy as np
import pytest

from tests.permutation_test import p_value, timbre
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.encoding import write_video
from v2s_jax.datasets.synthetic.generator import CATEGORIES, SyntheticClip, make_clip
from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.scenes import dog, drum
from v2s_jax.media.encode import CLIP_SUFFIX, AudioCodec

pytestmark = pytest.mark.slow  # the golden hashes are the fast guard

CLOCK = Clock()
CHANCE = 0.01
CLIPS = 24


@functools.cache
def clips(category: str, probe: str, video_frames: int, count: int) -> list[SyntheticClip]:
    return [
        make_clip(category, "train", index, 0, CLOCK, video_frames, probe) for index in range(count)
    ]


def first_pictures(made: list[SyntheticClip]) -> np.ndarray:
    """Edges of each first picture, coarse [clips 1 features]: sizes show, colours less so."""
    light = np.stack([m.frames[0] for m in made]).astype(float).mean(axis=-1)
    edges = np.hypot(*np.gradient(light, axis=(1, 2)))
    coarse = edges.reshape(len(made), 32, 4, 32, 4).mean(axis=(2, 4))
    coarse /= coarse.mean(axis=(1, 2), keepdims=True)
    return coarse.reshape(len(made), 1, -1)


def sounds(made: list[SyntheticClip]) -> dict[str, np.ndarray]:
    """What of the sounds might be told: loudness, timbre, how much happens."""
    return {
        "loudness": np.array([np.log10(m.waveform.std()) for m in made]),
        "timbre": timbre([m.waveform for m in made]),
        "events": np.array([len(m.events_sec) for m in made]),
    }


PLACES = {"place": np.arange(CLIPS)[:, None, None], "parity": np.arange(CLIPS)[:, None, None] % 2}
"""What a name and the order hold beside the category [clips 1 1]."""


# --- names and order


@pytest.mark.slow
def test_name_and_order_say_nothing_of_the_sound_beyond_the_category():
    found = {
        (category, what, place): p_value(of_name, answers)
        for category in CATEGORIES
        for what, answers in sounds(clips(category, "none", 8, CLIPS)).items()
        for place, of_name in PLACES.items()
        if np.ptp(answers) > 0  # no events in a category of textures
    }
    assert len(found) >= 50
    assert min(found.values()) > CHANCE / len(found), min(found, key=found.get)


@pytest.mark.slow
def test_an_order_by_loudness_would_be_found():
    for category in ("drum", "water_flowing"):
        made = sorted(clips(category, "none", 8, CLIPS), key=lambda m: m.waveform.std())
        assert p_value(PLACES["place"], sounds(made)["loudness"]) <= 0.001
        half = CLIPS // 2
        turns = [m for pair in zip(made[:half], made[half:], strict=True) for m in pair]
        assert p_value(PLACES["parity"], sounds(turns)["loudness"]) <= 0.001


# --- the first picture


@pytest.mark.slow
def test_the_first_picture_says_nothing_of_whether_a_motion_clip_sounds():
    """Before any codec; what a file shows, in every category: `test_probe_sets.py`.

    In `foresight` the first picture is the same of all clips.
    """
    found = {}
    for category in CATEGORIES:
        made = clips(category, "motion", 8, CLIPS)
        label = np.array([m.state["wheel_clockwise"] for m in made])
        assert 5 <= label.sum() <= CLIPS - 5
        corner = np.stack([m.frames[0, :36, :36] for m in made])
        found[category] = p_value(corner.reshape(len(made), 1, -1), label)
    assert min(found.values()) > CHANCE / len(found), found


@pytest.mark.slow
@pytest.mark.parametrize("category", ["dog", "drum", "fireworks"])
def test_the_first_picture_of_an_appearance_clip_is_found_to_tell(category):
    """There it is meant to: the size that it shows sets the timbre. So the test has power."""
    made = clips(category, "appearance", 12, CLIPS)
    assert p_value(first_pictures(made), sounds(made)["timbre"]) <= 0.001


def test_a_first_picture_does_not_foretell_how_often_something_happens_later():
    """Not even to who reads from it the very angle of the stick, the head and jaw of the dog.

    Of 200 ordinary clips each; what is about to happen in the next 0.3 s is read from it.
    """
    samples, rate_hz = 2 * CLOCK.sample_rate_hz, CLOCK.sample_rate_hz
    picture_sec = float(CLOCK.video_frame_time_sec(0))
    found = {}
    for category in ("drum", "dog"):
        shown, soon, later = [], [], []
        for index in range(200):
            rng = Rng(0, category, "train", index)
            if category == "drum":
                happening = drum.choose_hits(rng.stream("hits"), CLOCK, samples)
                angle = drum.stick_angle(happening, np.array([picture_sec]), rate_hz)
                shown.append([float(angle[0])] * 2)
            else:
                happening = dog.choose_barks(rng.stream("barks"), CLOCK, samples)
                since = picture_sec - happening.sample / rate_hz
                shown.append([part(since) @ happening.strength for part in (dog.lean, dog.jaw)])
            at_sec = happening.sample / rate_hz
            soon.append(((at_sec >= 0) & (at_sec < 0.34)).sum())
            later.append(((at_sec >= 1) & (at_sec < 2)).sum())
        pictures = np.array(shown)[:, None]
        found[category] = p_value(pictures, np.array(later))
        assert p_value(pictures, np.array(soon)) <= 0.001
    assert min(found.values()) > CHANCE / len(found), found


# --- the size of files


SIZED = ("drum", "fireworks", "water_flowing")
"""Categories whose files are written: of a still scene, of little light, and of much that moves."""


@pytest.mark.slow
def test_of_a_file_with_pcm_the_size_says_nothing_of_a_motion_clips_sound_but_flac_does(tmp_path):
    """PCM takes as many bytes for silence as for noise; FLAC does not, and is the control."""

    def found(category: str, codec: AudioCodec) -> float:
        made = clips(category, "motion", 8, CLIPS)
        sizes = []
        for m in made:
            path = tmp_path / f"{m.clip_id}{CLIP_SUFFIX[codec]}"
            write_video(path, m, CLOCK, "motion", codec)
            sizes.append(path.stat().st_size)
        label = np.array([m.state["wheel_clockwise"] for m in made])
        return p_value(np.array(sizes)[:, None, None], label)

    pcm = {category: found(category, "pcm") for category in SIZED}
    assert min(pcm.values()) > CHANCE / len(pcm), pcm
    assert found("drum", "flac") <= 0.001


# --- the test itself


def test_p_values_are_even_where_nothing_is_told_and_small_where_something_is():
    random = np.random.default_rng(0)
    values = [
        p_value(random.normal(size=(16, 2, 3)), random.normal(size=16), seed) for seed in range(60)
    ]
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) < 0.1) < 0.25
    x = random.normal(size=(24, 1, 2))
    assert p_value(x, x[:, 0, 0] ** 2) < 0.01  # also where the relation is no line
