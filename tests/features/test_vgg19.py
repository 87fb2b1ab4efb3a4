"""VGG19 to fc6 equals Keras's, and torch's computed in NumPy; its extractor streams."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from tests.vgg_weights import SMALL, reference_fc6, torch_weights, write_weights
from v2s_jax.config import ExtractorConfig
from v2s_jax.features import fc6
from v2s_jax.features.fc6 import Fc6Network, device_mesh, on_devices
from v2s_jax.features.optical_flow import BOUND_PX
from v2s_jax.features.vgg import VGG16, VGG19, Architecture, scaled
from v2s_jax.features.vgg19 import CHANNELS, Vgg19Extractor, Vgg19Weights, for_flow
from v2s_jax.features.weights import Weights, find_weights

LARGEST_DIFFERENCE = 1e-4  # of the largest activation, in float32
FOUR_DEVICES = Mesh(np.array(jax.devices()[:4]), ("picture",))


@pytest.fixture
def folder(monkeypatch) -> Iterator[Path]:
    """For half a gigabyte or more, removed with its test; converted weights go there too."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        yield Path(name)


def pictures(count: int, size_px: int, channels: int = 3) -> np.ndarray:
    shape = (count, size_px, size_px, channels)
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def network(
    found: Weights, mesh: Mesh | None = None, batch: int | None = None, **options: str
) -> Fc6Network:
    mesh = mesh or device_mesh(0)
    wanted = {"fc6": "after_relu", "precision": "float32"} | options
    params = on_devices(found.load(), wanted["precision"], mesh)
    return Fc6Network(
        found.architecture, found.preprocessing, params, **wanted, mesh=mesh, batch=batch
    )


def one_batch(net: Fc6Network, seen: np.ndarray) -> np.ndarray:
    whole = np.zeros((net.batch, *seen.shape[1:]), np.uint8)
    whole[: len(seen)] = seen
    return np.asarray(net(whole))[: len(seen)]


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert 0.2 < np.mean(wanted > 0) < 0.8  # something to compare
    assert np.abs(found - wanted).max() < LARGEST_DIFFERENCE * np.abs(wanted).max()


def test_equal_to_keras(folder, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    import keras

    keras.utils.set_random_seed(0)
    theirs = keras.applications.VGG19(weights=None)
    random = np.random.default_rng(0)
    for weight in theirs.weights:
        if weight.name == "bias":  # they begin as zeros
            weight.assign(random.normal(0, 0.1, weight.shape).astype(np.float32))
    theirs.save_weights(folder / "keras.weights.h5")
    seen = pictures(2, 224)
    to_fc6 = keras.Model(theirs.input, theirs.get_layer("fc1").output)
    wanted = to_fc6(keras.applications.vgg19.preprocess_input(seen.astype(np.float32)))
    ours = find_weights(folder / "keras.weights.h5", None, option="")
    assert (ours.architecture, ours.preprocessing) == (VGG19, "caffe")
    assert_close(one_batch(network(ours, batch=2), seen), np.asarray(wanted))


def torchvision_scaled(picture: np.ndarray) -> np.ndarray:
    """As torchvision's transforms: channels first, to [0, 1], its mean and deviation."""
    first = picture.transpose(2, 0, 1) / 255
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    return (first - mean) / deviation


def test_torchvision_s_weights_equal_to_a_reference_that_lays_out_channels_first(folder):
    arrays = torch_weights(VGG19)
    ours = find_weights(write_weights(folder / "torch.safetensors", arrays), None, option="")
    assert (ours.architecture, ours.preprocessing) == (VGG19, "torchvision")
    seen = pictures(1, 224)
    wanted = reference_fc6(arrays, VGG19, torchvision_scaled(seen[0]))
    assert_close(one_batch(network(ours, batch=1), seen), wanted[None])


def small(folder: Path, name: str = "w", net: Architecture = SMALL, **options) -> Weights:
    path = write_weights(folder / f"{name}.safetensors", torch_weights(net, **options))
    return find_weights(path, None, option="", known=(net,))


def test_all_devices_equal_one_and_the_last_batch_may_be_short(folder):
    found = small(folder)
    one, four = network(found), network(found, FOUR_DEVICES)
    assert four.batch == 4 * one.batch
    seen = pictures(four.batch + 3, SMALL.picture_px)
    of_one, of_four = list(one.stream(seen)), list(four.stream(iter(seen)))
    assert len(of_one) == len(of_four) == len(seen)
    np.testing.assert_allclose(of_four, of_one, rtol=2e-3)  # float16
    reference = reference_fc6(torch_weights(SMALL), SMALL, torchvision_scaled(seen[-1]))
    np.testing.assert_allclose(of_four[-1], reference, rtol=2e-3, atol=1e-3)
    assert list(one.stream(seen[:0])) == []


def test_devices_without_room_get_no_copy(monkeypatch):
    full, roomy, small_one = devices = jax.devices()[:3]
    free = {full: 5, roomy: 90, small_one: 15}
    monkeypatch.setattr(fc6, "_room", free.get)
    assert fc6.with_room(devices, 10) == [roomy]
    with pytest.raises(ValueError, match=r"no device has room for weights of 0\.0 GB: end"):
        fc6.with_room(devices, 1_000)


def test_bfloat16_is_close(folder):
    found = small(folder)
    seen = pictures(4, SMALL.picture_px)
    exact, rounded = (one_batch(network(found, precision=p), seen) for p in ("float32", "bfloat16"))
    difference = np.abs(rounded - exact).max() / exact.max()
    assert 0 < difference < 0.05


def test_before_its_relu_fc6_has_a_sign(folder):
    found = small(folder)
    seen = pictures(4, SMALL.picture_px)
    after, before = (
        one_batch(network(found, fc6=place), seen) for place in ("after_relu", "before_relu")
    )
    assert before.min() < 0
    np.testing.assert_array_equal(np.maximum(before, 0), after)


# What goes in


def test_each_training_s_scale_of_pictures():
    red, blue = scaled(jnp.array([[[[255, 0, 0], [0, 0, 255]]]], jnp.uint8), "caffe")[0, 0]
    np.testing.assert_allclose(red, [-103.939, -116.779, 255 - 123.68], rtol=1e-6)
    np.testing.assert_allclose(blue, [255 - 103.939, -116.779, -123.68], rtol=1e-6)
    red = scaled(jnp.array([[[[255, 0, 0]]]], jnp.uint8), "torchvision")[0, 0, 0]
    wanted = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(red, wanted, rtol=1e-6)


def test_each_training_s_scale_of_flow():
    stack = np.full((1, 1, 1, CHANNELS), 128, np.uint8)
    stack[..., 0], stack[..., 1] = 0, 255
    caffe = scaled(jnp.asarray(stack), "caffe")[0, 0, 0]
    np.testing.assert_allclose(caffe[:3], [-128, 127, 0])
    torchvision = scaled(jnp.asarray(stack), "torchvision")[0, 0, 0]
    np.testing.assert_allclose(torchvision[:2], [-0.5 / 0.226, 0.5 / 0.226], rtol=1e-6)


def test_operations_are_those_of_the_published_network():
    # 19.6 and 15.5 thousand million multiply-adds for all of VGG19 and VGG16; their two layers
    # above fc6 have 21 million.
    assert round(VGG19.flops(3) / 2e9, 2) == 19.61
    assert round(VGG16.flops(3) / 2e9, 2) == 15.45


# The extractor


def extractor(folder: Path, **options) -> Vgg19Extractor:
    found = small(folder)
    return Vgg19Extractor(ExtractorConfig(), Vgg19Weights(found, found), **options)


def moving(count: int) -> list[np.ndarray]:
    """A texture that moves to the right."""
    import cv2

    noise = np.random.default_rng(0).random((64, 64 + 3 * count)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    gray = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    rows = [gray[:, 3 * (count - i) :][:, :64] for i in range(count)]
    return [np.repeat(row[..., None], 3, axis=2) for row in rows]


def test_features_of_a_clip_streamed_whole_and_appearance_alone(folder):
    opened = extractor(folder)
    clip = moving(11)
    whole = opened.extract(clip)
    assert whole.appearance.shape == whole.motion.shape == (11, SMALL.fc6_dim)
    assert whole.appearance.dtype == whole.motion.dtype == np.float16
    streamed = list(opened.stream(iter(clip)))
    np.testing.assert_array_equal(whole.appearance, [one.appearance for one in streamed])
    np.testing.assert_array_equal(whole.motion, [one.motion for one in streamed])
    alone = extractor(folder, motion=False)
    np.testing.assert_array_equal(whole.appearance, list(alone.stream_appearance(iter(clip))))
    with pytest.raises(ValueError, match="without motion"):
        alone.stream(iter(clip))


def test_motion_is_the_network_on_flow_with_an_averaged_first_layer(folder):
    arrays = torch_weights(SMALL)
    still = Vgg19Extractor(ExtractorConfig(), Vgg19Weights(small(folder), small(folder)))
    assert still.extraction.motion_origin == "cross_modality"
    seen = moving(1)[0]
    first = arrays["features.0.weight"].mean(axis=1, keepdims=True)
    arrays["features.0.weight"] = np.repeat(first, CHANNELS, axis=1)
    rest = np.full((CHANNELS, 64, 64), (128 / 255 - 0.5) / 0.226)
    wanted = reference_fc6(arrays, SMALL, rest)
    np.testing.assert_allclose(still.extract([seen]).motion[0], wanted, rtol=2e-3, atol=1e-3)


def test_weights_trained_on_flow_are_taken_as_they_are(folder):
    flow = small(folder, "flow", seed=5, channels=CHANNELS)
    found = Vgg19Weights(small(folder), flow)
    opened = Vgg19Extractor(ExtractorConfig(flow="farneback"), found)
    made = opened.extraction
    assert (made.motion_origin, made.flow) == ("flow_weights", "farneback")
    assert made.motion_weights_sha256 == flow.sha256 != made.appearance_weights_sha256
    rest = np.full((CHANNELS, 64, 64), (128 / 255 - 0.5) / 0.226)
    wanted = reference_fc6(torch_weights(SMALL, seed=5, channels=CHANNELS), SMALL, rest)
    found_motion = opened.extract(moving(1)).motion[0]
    np.testing.assert_allclose(found_motion, wanted, rtol=2e-3, atol=1e-3)


def test_pictures_are_read_two_batches_ahead_at_most(folder):
    opened = extractor(folder)
    taken = []

    def endless():
        for picture in moving(100):
            taken.append(1)
            yield picture

    next(opened.stream(endless()))
    assert len(taken) <= 2 * opened.appearance.batch + 5


def test_averaging_keeps_what_a_gray_picture_gives():
    kernel = np.random.default_rng(0).random((3, 3, 3, 2)).astype(np.float32)
    made = for_flow(kernel)
    assert made.shape == (3, 3, CHANNELS, 2)
    np.testing.assert_allclose(made.sum(axis=2) / CHANNELS, kernel.sum(axis=2) / 3, rtol=1e-5)
    assert BOUND_PX == 20


def test_a_temporal_network_of_vgg16_s_depth(folder):
    sixteen = replace_convolutions(SMALL, VGG16.convolutions)
    flow = small(folder, "sixteen", sixteen, channels=CHANNELS)
    opened = Vgg19Extractor(ExtractorConfig(), Vgg19Weights(small(folder), flow))
    assert opened.extract(moving(2)).motion.shape == (2, SMALL.fc6_dim)


def replace_convolutions(net: Architecture, convolutions: tuple[int, ...]) -> Architecture:
    return net._replace(name="sixteen", convolutions=convolutions)


def test_what_is_not_fixed_has_its_default(folder):
    found = small(folder)
    made = extractor(folder).extraction
    assert made == ExtractorConfig(
        "after_relu", "float32", found.sha256, "dis", found.sha256, "cross_modality"
    )
    assert replace(made, flow=None).with_defaults(made) == made
