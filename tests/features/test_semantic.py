"""Controls from video frames: cuts, motion, the range of a category, what was seen."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from v2s_jax.config import ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features.controls import CONTROLS_PER_FRAME, CONTROLS_VERSION, QUANTILES
from v2s_jax.features.excerpts import encode
from v2s_jax.features.imagenet.categories import class_labels
from v2s_jax.features.imagenet.network import INPUT_PX
from v2s_jax.features.imagenet.seen import KNOWN_MASS, SeenInVideo
from v2s_jax.features.semantic import SemanticExtractor

CATEGORIES = ("dog", "snoring", "water")
LOUDNESS = np.linspace(0.2, 0.6, QUANTILES)
ONSET = np.linspace(0.0, 0.3, QUANTILES)
CATEGORY_FIELDS = ("categories", "control_quantiles", "control_excerpts")
BARK, QUIET = 0.9, 0.1


def bark() -> np.ndarray:
    """Quiet, and one bark."""
    motion = np.zeros((32, 2 * CONTROLS_PER_FRAME))
    motion[:, :CONTROLS_PER_FRAME] = QUIET
    motion[10:14, :CONTROLS_PER_FRAME] = BARK
    motion[10, CONTROLS_PER_FRAME] = 1
    return motion


CONFIG = ExtractorConfig(
    controls_version=CONTROLS_VERSION,
    categories=CATEGORIES,
    control_quantiles=tuple(np.tile(np.concatenate([LOUDNESS, ONSET]), 3).tolist()),
    control_excerpts=(encode([bark()]),) * 3,
)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [load_sample_image(name)[:400, :600] for name in ("china.jpg", "flower.jpg")]


def crop(photograph: np.ndarray, right: int) -> np.ndarray:
    return np.ascontiguousarray(photograph[100:324, 100 + right : 100 + right + INPUT_PX])


def pan(photograph: np.ndarray, frames: int) -> list[np.ndarray]:
    """The camera turns by 3 px per video frame."""
    return [crop(photograph, 3 * frame) for frame in range(frames)]


def move_inside(photograph: np.ndarray, frames: int) -> list[np.ndarray]:
    """The camera is still, and the middle of the image moves up and down from frame 5 on."""
    images = [crop(photograph, 0) for _ in range(frames)]
    for frame in range(5, frames):
        shift = 8 * (frame % 2)
        images[frame][60:160, 60:160] = photograph[160 + shift : 260 + shift, 160:260]
    return images


def loudness(features) -> np.ndarray:
    return np.concatenate([one.motion[:CONTROLS_PER_FRAME] for one in features])


def test_motion_counts_without_the_camera(photographs):
    extractor = SemanticExtractor(CONFIG)
    still, panned, moved = (
        list(extractor.stream(frames))
        for frames in (
            [crop(photographs[0], 0)] * 8,
            pan(photographs[0], 8),
            move_inside(photographs[0], 8),
        )
    )
    for quiet in (still, panned):
        np.testing.assert_allclose(loudness(quiet), QUIET, atol=0.01)  # the bark comes later
    onset = np.concatenate([one.motion[CONTROLS_PER_FRAME:] for one in moved])
    assert np.flatnonzero(onset).tolist() == [5 * CONTROLS_PER_FRAME]  # the first moving frame
    np.testing.assert_allclose(loudness(moved)[5 * CONTROLS_PER_FRAME :], BARK, atol=0.01)


def test_weights_are_a_distribution_that_begins_anew_at_a_cut(photographs):
    first, second = ([crop(photograph, 0)] * 3 for photograph in photographs)
    extractor = SemanticExtractor(CONFIG)
    both = list(extractor.stream(first + second))
    for feature in both:
        assert feature.appearance.sum() == pytest.approx(1, abs=2e-3)
    alone = list(extractor.stream(second))
    np.testing.assert_array_equal(both[-1].appearance, alone[-1].appearance)
    assert (both[0].appearance != both[-1].appearance).any()
    np.testing.assert_allclose(loudness(both), QUIET, atol=0.01)  # a cut is no motion


def test_streaming_holds_two_video_frames(photographs):
    read = []

    def frames():
        for frame in pan(photographs[0], 6):
            read.append(frame)
            yield frame

    for number, _ in enumerate(SemanticExtractor(CONFIG).stream(frames()), 1):
        assert len(read) == number


def test_what_was_seen_is_said():
    seen = SeenInVideo(CATEGORIES)
    probabilities = np.full(1000, 1e-5, np.float32)
    probabilities[class_labels().index("beagle")] = 0.6
    probabilities[class_labels().index("fountain")] = 0.1
    seen.add(probabilities)
    seen.add(probabilities)
    assert str(seen).startswith("dog 0.60 (beagle, ")
    assert str(seen).endswith("), water 0.10")
    assert seen.warning() is None
    nothing = SeenInVideo(CATEGORIES)
    probabilities = np.full(1000, (1 - 0.5) / 999, np.float32)
    probabilities[class_labels().index("lampshade")] = 0.5
    nothing.add(probabilities)
    assert nothing.by_evidence()[0].mass < KNOWN_MASS
    assert "nothing that the model knows (lampshade 0.50, " in nothing.warning()
    assert "the nearest category is dog" in nothing.warning()


def test_models_of_other_controls_are_refused():
    for changes, message in (
        ({"controls_version": CONTROLS_VERSION + 1}, "controls of version 2"),
        (dict.fromkeys(CATEGORY_FIELDS), "lacks its categories"),
    ):
        with pytest.raises(InputError, match=message):
            SemanticExtractor(dataclasses.replace(CONFIG, **changes))
