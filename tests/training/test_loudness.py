"""The auxiliary loss of `aligned`, and inputs that are hidden from the tiers."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.training_clips import STATISTICS, Clips, small
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import (
    VideoToSound,
    initial_carry,
    loudness,
    predict_loudness,
    window_frames,
)
from v2s_jax.quantize import dequantize, quantize
from v2s_jax.training.learn_loudness import learn_loudness
from v2s_jax.training.loudness import loudness_loss
from v2s_jax.training.state import apply_gradients, init_state
from v2s_jax.training.step import Chunk, DeviceBatch, drop_inputs, train_step

LEARNING_RATE = 0.25
"""Large, so that rounding of the parameters does not matter."""


def aligned(tiny: Config, **training) -> Config:
    config = with_model(small(tiny), variant="aligned", motion_dim=12)
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


@pytest.mark.parametrize("quantization", ["linear", "mu_law"])
def test_loudness_is_the_level_of_each_vector(tiny, quantization):
    """Noise of known RMS: 0 dB is 0, -20 dB -1, silence -3, to the rounding of 256 levels."""
    config = with_model(aligned(tiny), quantization=quantization)
    size = config.samples_per_vector
    assert size == 256
    random = np.random.default_rng(0)
    rms = np.array([[0.3, 0.1, 0.03, 0.0], [0.2, 0.0, 0.1, 0.4]])
    noise = random.choice([-1.0, 1.0], (2, 4 * size)) * np.repeat(rms, size, axis=1)
    levels = quantize(noise.astype(np.float32), 256, quantization).astype(np.int32)
    expected = np.log10(np.maximum(rms, 1e-3))
    np.testing.assert_allclose(loudness(config, jnp.asarray(levels)), expected, atol=0.05)
    exact = dequantize(levels.astype(np.uint8), 256, quantization).reshape(2, 4, size)
    expected = np.log10(np.maximum(np.sqrt(np.mean(np.square(exact), axis=-1)), 1e-3))
    np.testing.assert_allclose(loudness(config, jnp.asarray(levels)), expected, atol=1e-4)


def test_loss_is_the_squared_error_without_padding(tiny):
    config = aligned(tiny, loudness_weight=0.5)
    model, params = VideoToSound(config, "highest"), random_params(config)
    batch = Clips(config).batch(0)
    window = window_frames(config.model, 0, 2, 2)
    features = jnp.asarray(batch.features[:, window], jnp.float32)
    levels = jnp.asarray(batch.levels, jnp.int32)
    predicted = np.asarray(predict_loudness(model, params, features))
    assert predicted.shape == (8, 8)
    error = predicted - np.asarray(loudness(config, levels))
    whole = batch.mask.reshape(8, 8, 256).all(axis=-1)
    assert not whole[0, 5:].any() and whole[0, :5].all() and whole[1:].all()
    expected = 0.5 * 256 * np.sum(np.square(error)[whole])
    got = loudness_loss(model, params, levels, features, jnp.asarray(batch.mask))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_every_update_learns_from_whole_clips(tiny):
    """Its gradient is that of all samples, scaled to those of the chunk; padding does not count."""
    config = aligned(tiny, loudness_weight=0.5)
    model = VideoToSound(config, "highest")
    state = init_state(model, STATISTICS)
    batch = Clips(config).batch(0)
    arrays = (batch.levels, batch.features, batch.mask, batch.clip_index.astype(np.int32))
    on_device = DeviceBatch(*map(jnp.asarray, arrays))
    carry = initial_carry(model, state.params, config.training.batch_clips)
    step = jax.jit(partial(train_step, model, 1, all_reduce_sum=lambda tree: tree))
    _, _, metrics = step(state, carry, on_device)

    window = np.stack(
        [
            features[window_frames(config.model, 0, 2, int(mask[:: 4 * 256].sum()))]
            for features, mask in zip(batch.features, batch.mask, strict=True)
        ]
    )
    clips = (on_device.levels.astype(jnp.int32), jnp.asarray(window), on_device.mask)
    gradient = jax.grad(lambda params: loudness_loss(model, params, *clips))(state.params)
    chunks = batch.levels.shape[1] // config.training.chunk_samples
    assert chunks > 1
    parts = gradient["params"]["loudness"]
    norm = np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(parts)))
    expected = norm / chunks / metrics.samples[0]
    np.testing.assert_allclose(metrics.gradient_norm["loudness"][0], expected, rtol=1e-5)


def run(config: Config, updates: int) -> tuple[dict, np.ndarray]:
    model = VideoToSound(config, "highest")
    state = init_state(model, STATISTICS)
    carry = initial_carry(model, state.params, config.training.batch_clips)
    batch = Clips(config).batch(0)
    # Loud where the first feature is high.
    random = np.random.default_rng(1)
    is_loud = np.repeat(batch.features[..., 0] > 0.5, 1024, axis=1)
    noise = random.normal(0, np.where(is_loud, 40, 2)).round() + 128
    levels = noise.clip(0, 255).astype(np.uint8)
    arrays = (levels, batch.features, batch.mask, batch.clip_index.astype(np.int32))
    step = jax.jit(partial(train_step, model, updates, all_reduce_sum=lambda tree: tree))
    state, _, metrics = step(state, carry, DeviceBatch(*map(jnp.asarray, arrays)))
    features = batch.features[:, window_frames(config.model, 0, 2, 2)].astype(np.float32)
    predicted = predict_loudness(model, state.params, jnp.asarray(features))
    error = np.asarray(predicted) - np.asarray(loudness(config, jnp.asarray(levels, jnp.int32)))
    return np.asarray(metrics.nll), np.mean(np.square(error)[1:])


@pytest.mark.slow
def test_context_vectors_learn_the_loudness_and_the_metrics_leave_it_out(tiny):
    config = aligned(tiny, loudness_weight=0.1, learning_rate=3e-3)
    nll, error = run(config, 60)
    tiny_weight = dataclasses.replace(config.training, loudness_weight=1e-12)
    without_nll, without_error = run(dataclasses.replace(config, training=tiny_weight), 60)
    assert nll[0] == pytest.approx(without_nll[0], rel=1e-6)
    assert error < 0.2 < 2 * without_error


def test_the_encoder_alone_learns_the_loudness_before_the_first_update(tiny):
    """The tiers stay as they were."""
    options = {"loudness_weight": 0.1, "learning_rate": 3e-3, "ema_decay": 0.9}
    config = aligned(tiny, loudness_steps=40, **options)
    clips = Clips(config)
    model = VideoToSound(config, "highest")
    state = init_state(model, STATISTICS)
    batches = (clips.batch(number % 3) for number in itertools.count())
    learned, loss = learn_loudness(model, state, batches)
    before, after = state.params["params"], learned.params["params"]
    assert (before["context"]["input"]["kernel"] != after["context"]["input"]["kernel"]).any()
    jax.tree.map(np.testing.assert_array_equal, before["sample_rnn"], after["sample_rnn"])
    jax.tree.map(np.testing.assert_array_equal, learned.average, learned.params)
    short = aligned(tiny, loudness_steps=4, **options)
    _, early = learn_loudness(VideoToSound(short, "highest"), state, batches)
    assert loss < early
    with pytest.raises(InputError, match="stopped after 1 of 4 updates of the context encoder"):
        learn_loudness(VideoToSound(short, "highest"), state, batches, lambda: True)
    weights = jax.tree.map(lambda x: x * np.nan, state.params)
    with pytest.raises(InputError, match="the loss of loudness is nan after 1 updates"):
        learn_loudness(VideoToSound(short, "highest"), state._replace(params=weights), batches)
    assert int(learned.step) == 0


@pytest.mark.parametrize("scale", [0.0, 0.25])
def test_the_context_encoder_learns_more_slowly_than_the_tiers(tiny, scale):
    """A first step of Adam is the learning rate times the sign of the gradient."""

    def step(scale: float) -> dict:
        options = {"learning_rate": LEARNING_RATE, "context_rate_scale": scale}
        config = aligned(tiny, loudness_weight=0.1, loudness_steps=1, **options)
        state = init_state(VideoToSound(config, "highest"), STATISTICS)
        after = apply_gradients(config.training, state, jax.tree.map(jnp.ones_like, state.params))
        return jax.tree.map(jnp.subtract, after.params, state.params)["params"]

    full, scaled = step(1.0), step(scale)
    for change in jax.tree.leaves(full):
        np.testing.assert_allclose(change, -LEARNING_RATE, rtol=1e-4)
    assert set(full) == {"conditioning", "context", "loudness", "sample_rnn"}
    for name, change in full.items():
        factor = 1.0 if name == "sample_rnn" else scale
        expected = jax.tree.map(partial(jnp.multiply, factor), change)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-7), scaled[name], expected)


def test_only_aligned_models_that_learn_it_have_its_parameters(tiny):
    with_it = random_params(aligned(tiny, loudness_weight=0.1))["params"]
    assert set(with_it) - set(random_params(aligned(tiny))["params"]) == {"loudness"}
    frame = small(tiny, loudness_weight=0.1)
    assert "loudness" not in random_params(frame)["params"]


def test_hidden_inputs_follow_from_the_clip_and_the_position(tiny):
    """A share of the chunks is silent from a random sample on, and only while training."""
    config = small(tiny, input_dropout_share=0.3)
    clips, levels = np.arange(2_000, dtype=np.int32), jnp.full((2_000, 1024), 200, jnp.int32)
    empty = jnp.zeros((2_000, 0))
    carry = initial_carry(VideoToSound(config), random_params(config), 1)

    def seen(
        clips: np.ndarray, number: int = 0, batch_number: int | None = 0, config: Config = config
    ) -> np.ndarray:
        batch = DeviceBatch(levels.astype(jnp.uint8), empty, empty.astype(bool), jnp.asarray(clips))
        position = None if batch_number is None else jnp.int32(batch_number)
        chunk = Chunk(carry, batch, jnp.int32(number), position)
        return np.asarray(drop_inputs(config, levels, chunk))

    hidden = seen(clips) == 128
    assert (seen(clips)[~hidden] == 200).all()
    assert (np.diff(hidden.astype(int), axis=1) >= 0).all()
    assert hidden.any(axis=1).mean() == pytest.approx(0.3, abs=0.04)
    assert hidden.mean() == pytest.approx(0.15, abs=0.02)
    np.testing.assert_array_equal(seen(clips[::-1].copy()), seen(clips)[::-1])
    assert (seen(clips, number=1) != seen(clips)).any()
    assert (seen(clips, batch_number=1) != seen(clips)).any()
    assert (seen(clips, batch_number=None) == 200).all()

    long = small(tiny, input_dropout_share=0.3, input_dropout_chunks=3)
    one, three = (
        np.concatenate([seen(clips, number, config=each) == 128 for number in range(6)], axis=1)
        for each in (config, long)
    )
    hidden_for = np.zeros_like(one)
    for chunk in range(6):  # each span goes on to the end of the second chunk after its own
        began = one[:, chunk * 1024 : (chunk + 1) * 1024].any(axis=1)[:, None]
        hidden_for[:, chunk * 1024 : (chunk + 1) * 1024] |= one[
            :, chunk * 1024 : (chunk + 1) * 1024
        ]
        hidden_for[:, (chunk + 1) * 1024 : (chunk + 3) * 1024] |= began
    # One in a thousand begins after the last sample of its own chunk.
    assert (three == hidden_for).all(axis=1).mean() > 0.98


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"loudness_weight": -0.1}, "loudness_weight is -0.1: use 0 or more"),
        ({"input_dropout_share": 1.5}, "input_dropout_share is 1.5: use 0 to 1"),
        ({"input_dropout_chunks": 0}, "input_dropout_chunks"),
        ({"input_dropout_chunks": 9}, "input_dropout_chunks is 9, but input_dropout_share is 0"),
        ({"loudness_weight": 1.0, "loudness_steps": 5}, "variant frame has no context encoder"),
        ({"loudness_steps": 5}, "loudness_steps is 5, but loudness_weight is 0"),
        ({"context_rate_scale": 0.1}, "context_rate_scale is 0.1, but variant frame has no"),
        ({"context_rate_scale": 2.0}, "context_rate_scale is 2.0: use 0 to 1"),
        ({"context_rate_scale": 0.0}, "context_rate_scale is 0, so the context encoder would stay"),
    ],
)
def test_bad_options(tiny, option, message):
    with pytest.raises(InputError, match=message):
        small(tiny, **option)
