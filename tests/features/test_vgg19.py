"""VGG19 up to fc6 against Keras, and against torch's layout in NumPy; the extractor."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from tests.vgg_weights import SMALL, reference_fc6, torch_weights, write_weights
from v2s_jax.config import ExtractorConfig
from v2s_jax.features.optical_flow import STACK_CHANNELS
from v2s_jax.features.vgg import (
    VGG16,
    VGG19,
    Architecture,
    Fc6Network,
    device_mesh,
    on_devices,
    preprocess,
)
from v2s_jax.features.vgg19 import Vgg19Extractor, Vgg19Weights, for_flow
from v2s_jax.features.weights import Weights, find_weights

MAX_DIFFERENCE = 1e-4  # of the largest activation, in float32
FOUR_DEVICES = Mesh(np.array(jax.devices()[:4]), ("image",))


@pytest.fixture
def folder(monkeypatch) -> Iterator[Path]:
    """A folder for weights and their cache, removed after the test: half a gigabyte or more."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        yield Path(name)


def images(count: int, size_px: int, channels: int = 3) -> np.ndarray:
    shape = (count, size_px, size_px, channels)
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def network(
    found: Weights, mesh: Mesh | None = None, batch: int | None = None, **options: str
) -> Fc6Network:
    mesh = mesh or device_mesh()
    settings = {"fc6": "after_relu", "precision": "float32"} | options
    params = on_devices(found.load(), settings["precision"], mesh)
    return Fc6Network(
        found.architecture, found.preprocessing, params, **settings, mesh=mesh, batch=batch
    )


def one_batch(net: Fc6Network, batch: np.ndarray) -> np.ndarray:
    padded = np.zeros((net.batch, *batch.shape[1:]), np.uint8)
    padded[: len(batch)] = batch
    return np.asarray(net(padded))[: len(batch)]


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == np.float32 and actual.shape == expected.shape
    assert 0.2 < np.mean(expected > 0) < 0.8  # something to compare
    assert np.abs(actual - expected).max() < MAX_DIFFERENCE * np.abs(expected).max()


# Keras converts its variables without a copy argument.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.slow
def test_vgg19_equals_keras(folder, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    import keras

    keras.utils.set_random_seed(0)
    theirs = keras.applications.VGG19(weights=None)
    random = np.random.default_rng(0)
    for weight in theirs.weights:
        if weight.name == "bias":  # initialised to zero
            weight.assign(random.normal(0, 0.1, weight.shape).astype(np.float32))
    theirs.save(folder / "keras.h5")
    batch = images(2, 224)
    to_fc6 = keras.Model(theirs.input, theirs.get_layer("fc1").output)
    with jax.numpy_rank_promotion("allow"):  # Keras adds biases without reshaping them
        expected = to_fc6(keras.applications.vgg19.preprocess_input(batch.astype(np.float32)))
    ours = find_weights(folder / "keras.h5", None, option="")
    assert (ours.architecture, ours.preprocessing) == (VGG19, "caffe")
    assert_close(one_batch(network(ours, batch=2), batch), np.asarray(expected))


def torchvision_scaled(image: np.ndarray) -> np.ndarray:
    """As torchvision's transforms: channels first, to [0, 1], mean and deviation."""
    first = image.transpose(2, 0, 1) / 255
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    return (first - mean) / deviation


@pytest.mark.slow
def test_vgg19_with_torch_weights_equals_the_channels_first_reference(folder):
    arrays = torch_weights(VGG19)
    ours = find_weights(write_weights(folder / "torch.safetensors", arrays), None, option="")
    assert (ours.architecture, ours.preprocessing) == (VGG19, "torchvision")
    batch = images(1, 224)
    expected = reference_fc6(arrays, VGG19, torchvision_scaled(batch[0]))
    assert_close(one_batch(network(ours, batch=1), batch), expected[None])


def small(folder: Path, name: str = "w", net: Architecture = SMALL, **options) -> Weights:
    path = write_weights(folder / f"{name}.safetensors", torch_weights(net, **options))
    return find_weights(path, None, option="", architectures=(net,))


def test_four_devices_equal_one_also_with_a_short_last_batch(folder):
    found = small(folder)
    one, four = network(found), network(found, FOUR_DEVICES)
    assert four.batch == 4 * one.batch
    batch = images(four.batch + 3, SMALL.input_px)
    of_one, of_four = list(one.stream(batch)), list(four.stream(iter(batch)))
    assert len(of_one) == len(of_four) == len(batch)
    np.testing.assert_allclose(of_four, of_one, rtol=2e-3)  # float16
    reference = reference_fc6(torch_weights(SMALL), SMALL, torchvision_scaled(batch[-1]))
    np.testing.assert_allclose(of_four[-1], reference, rtol=2e-3, atol=1e-3)
    assert list(one.stream(batch[:0])) == []


def test_bfloat16_is_close_to_float32(folder):
    found = small(folder)
    batch = images(4, SMALL.input_px)
    exact, rounded = (
        one_batch(network(found, precision=p), batch) for p in ("float32", "bfloat16")
    )
    difference = np.abs(rounded - exact).max() / exact.max()
    assert 0 < difference < 0.05


def test_fc6_before_and_after_relu(folder):
    found = small(folder)
    batch = images(4, SMALL.input_px)
    after, before = (
        one_batch(network(found, fc6=place), batch) for place in ("after_relu", "before_relu")
    )
    assert before.min() < 0
    np.testing.assert_array_equal(np.maximum(before, 0), after)


# Preprocessing


def test_preprocessing_of_images():
    red, blue = preprocess(jnp.array([[[[255, 0, 0], [0, 0, 255]]]], jnp.uint8), "caffe")[0, 0]
    np.testing.assert_allclose(red, [-103.939, -116.779, 255 - 123.68], rtol=1e-6)
    np.testing.assert_allclose(blue, [255 - 103.939, -116.779, -123.68], rtol=1e-6)
    red = preprocess(jnp.array([[[[255, 0, 0]]]], jnp.uint8), "torchvision")[0, 0, 0]
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(red, expected, rtol=1e-6)


def test_preprocessing_of_flow():
    stack = np.full((1, 1, 1, STACK_CHANNELS), 128, np.uint8)
    stack[..., 0], stack[..., 1] = 0, 255
    caffe = preprocess(jnp.asarray(stack), "caffe")[0, 0, 0]
    np.testing.assert_allclose(caffe[:3], [-128, 127, 0])
    torchvision = preprocess(jnp.asarray(stack), "torchvision")[0, 0, 0]
    np.testing.assert_allclose(torchvision[:2], [-0.5 / 0.226, 0.5 / 0.226], rtol=1e-6)


def test_flops_are_those_of_the_published_networks():
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
    noise = np.random.default_rng(0).random((64, 64 + 3 * count)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    gray = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    rows = [gray[:, 3 * (count - i) :][:, :64] for i in range(count)]
    return [np.repeat(row[..., None], 3, axis=2) for row in rows]


def test_streamed_features_equal_those_of_the_whole_clip(folder):
    opened = extractor(folder)
    clip = moving(11)
    whole = opened.extract(clip)
    assert whole.appearance.shape == whole.motion.shape == (11, SMALL.fc6_dim)
    assert whole.appearance.dtype == whole.motion.dtype == np.float16
    streamed = list(opened.stream(iter(clip)))
    np.testing.assert_array_equal(whole.appearance, [one.appearance for one in streamed])
    np.testing.assert_array_equal(whole.motion, [one.motion for one in streamed])
    appearance_only = extractor(folder, motion=False)
    appearance = list(appearance_only.stream_appearance(iter(clip)))
    np.testing.assert_array_equal(whole.appearance, appearance)
    with pytest.raises(ValueError, match="without motion"):
        appearance_only.stream(iter(clip))


def test_cross_modality_motion_is_the_network_on_flow(folder):
    arrays = torch_weights(SMALL)
    still = Vgg19Extractor(ExtractorConfig(), Vgg19Weights(small(folder), small(folder)))
    assert still.extraction.motion_origin == "cross_modality"
    batch = moving(1)[0]
    first = arrays["features.0.weight"].mean(axis=1, keepdims=True)
    arrays["features.0.weight"] = np.repeat(first, STACK_CHANNELS, axis=1)
    rest = np.full((STACK_CHANNELS, 64, 64), (128 / 255 - 0.5) / 0.226)
    expected = reference_fc6(arrays, SMALL, rest)
    np.testing.assert_allclose(still.extract([batch]).motion[0], expected, rtol=2e-3, atol=1e-3)


def test_weights_trained_on_flow_are_used_unchanged(folder):
    flow = small(folder, "flow", seed=5, channels=STACK_CHANNELS)
    found = Vgg19Weights(small(folder), flow)
    opened = Vgg19Extractor(ExtractorConfig(flow="farneback"), found)
    config = opened.extraction
    assert (config.motion_origin, config.flow) == ("flow_weights", "farneback")
    assert config.motion_weights_sha256 == flow.sha256 != config.appearance_weights_sha256
    rest = np.full((STACK_CHANNELS, 64, 64), (128 / 255 - 0.5) / 0.226)
    expected = reference_fc6(torch_weights(SMALL, seed=5, channels=STACK_CHANNELS), SMALL, rest)
    found_motion = opened.extract(moving(1)).motion[0]
    np.testing.assert_allclose(found_motion, expected, rtol=2e-3, atol=1e-3)


def test_stream_reads_at_most_two_batches_ahead(folder):
    opened = extractor(folder)
    consumed = []

    def endless():
        for frame in moving(100):
            consumed.append(1)
            yield frame

    next(opened.stream(endless()))
    assert len(consumed) <= 2 * opened.appearance.batch + 5


def test_first_layer_for_flow_keeps_the_sum_over_channels():
    kernel = np.random.default_rng(0).random((3, 3, 3, 2)).astype(np.float32)
    converted = for_flow(kernel)
    assert converted.shape == (3, 3, STACK_CHANNELS, 2)
    np.testing.assert_allclose(
        converted.sum(axis=2) / STACK_CHANNELS, kernel.sum(axis=2) / 3, rtol=1e-5
    )


def test_temporal_network_can_be_vgg16(folder):
    sixteen = SMALL._replace(name="sixteen", convolutions=VGG16.convolutions)
    flow = small(folder, "sixteen", sixteen, channels=STACK_CHANNELS)
    opened = Vgg19Extractor(ExtractorConfig(), Vgg19Weights(small(folder), flow))
    assert opened.extract(moving(2)).motion.shape == (2, SMALL.fc6_dim)


def test_defaults_are_filled_in(folder):
    found = small(folder)
    config = extractor(folder).extraction
    assert config == ExtractorConfig(
        "after_relu", "float32", found.sha256, "dis", found.sha256, "cross_modality"
    )
    assert replace(config, flow=None).with_defaults(config) == config
