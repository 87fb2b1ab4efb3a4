"""EfficientNet-Lite0 against the original network, and the table of categories."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from tests.conftest import FIXTURES
from v2s_jax.features.imagenet import categories
from v2s_jax.features.imagenet.network import (
    INPUT_PX,
    EfficientNetLite0,
    class_probabilities,
    load_params,
)

LOGIT_TOLERANCE = 0.03
"""Half precision of the weights: the largest difference over the images below is 0.02 of 7."""


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Coloured blocks and two photographs, 224 x 224 px."""
    size = INPUT_PX // 7
    blocks = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    photographs = (
        load_sample_image(name)[100:324, 200:424] for name in ("china.jpg", "flower.jpg")
    )
    return np.stack([blocks.repeat(size, 0).repeat(size, 1), *photographs])


def test_logits_equal_the_original_network(images):
    """The fixture was computed by the authors' PyTorch network with the original file."""
    original = np.load(FIXTURES / "efficientnet_lite0_logits.npz")["logits"]
    logits = jax.jit(EfficientNetLite0().apply)({"params": load_params()}, images)
    np.testing.assert_allclose(logits, original, atol=LOGIT_TOLERANCE, rtol=0)
    np.testing.assert_array_equal(logits.argmax(axis=1), original.argmax(axis=1))


def test_the_likeliest_class_of_a_photograph(images):
    probabilities = class_probabilities(images[2])
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert categories.top_labels(probabilities, 1)[0].startswith("lampshade")


def test_every_category_names_classes_that_exist():
    labels = categories.class_labels()
    assert len(set(labels)) == 1000
    for category, names in categories.CLASSES_OF_CATEGORY.items():
        assert len(set(names)) == len(names) > 0
        assert [labels[index] for index in categories.classes_of(category)] == list(names)
    assert set(categories.NAMES.values()) <= {categories.DOG, *categories.CLASSES_OF_CATEGORY}


@pytest.mark.parametrize(
    ("name", "key"), [("Dog bark", "dog"), ("rail_transport", "rail_transport"), ("x-y", "x_y")]
)
def test_names_of_other_datasets(name, key):
    assert categories.category_key(name) == key


def test_what_is_seen_is_sorted_and_named():
    probabilities = np.full(1000, 1e-4)
    beagle = categories.class_labels().index("beagle")
    probabilities[beagle] = 0.9
    first, second = categories.seen(probabilities, ["printer", "dog"])
    assert (first.category, first.labels[0]) == ("dog", "beagle")
    assert first.mass == pytest.approx(0.9 + 117e-4)
    assert second.mass == pytest.approx(3e-4)
    assert categories.masses(probabilities[None], ["snoring", "dog"])[0, 0] == 0
    assert categories.top_labels(probabilities, 1) == ("beagle 0.90",)


def test_a_little_of_every_dog_is_no_dog():
    """Chance gives 118 of 1000 classes more than it gives 7; a plain majority is beyond doubt."""
    names = ("baby_crying", "dog")
    faint = categories.evidence(np.array([0.02, 0.03]), names)
    assert faint[0] > faint[1]
    clear = categories.evidence(np.array([0.10, 0.30]), names)
    assert clear[1] > clear[0]
    probabilities = np.zeros(1000)
    probabilities[categories.class_labels().index("crib")] = 0.02
    probabilities[list(categories.DOG_CLASSES)[:3]] = 0.01
    first, second = categories.seen(probabilities, names)
    assert (first.category, second.category) == names
    assert first.mass == pytest.approx(0.02) and second.mass == pytest.approx(0.03)
