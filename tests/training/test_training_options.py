"""Options of training against a run with the defaults."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.training_clips import (
    SAMPLES,
    STATISTICS,
    VIDEO_FRAMES,
    Clips,
    compiled_bytes,
    read_losses,
    small,
    training_data,
)
from v2s_jax.checkpoints import load_params
from v2s_jax.config import PAPER, Config
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.model.linear import matmul
from v2s_jax.training.loop import train
from v2s_jax.training.state import (
    TrainState,
    apply_gradients,
    init_state,
    learning_rate,
    make_optimizer,
)
from v2s_jax.training.step import Chunk, DeviceBatch, add_input_noise, train_step


@cache
def after_updates(config: Config, updates: int = 1) -> tuple[TrainState, np.ndarray, np.ndarray]:
    """State, last carry of the coarsest tier and losses after updates of one batch."""
    model = VideoToSound(config, config.training.precision)
    params = random_params(config)
    state = init_state(model, STATISTICS)._replace(params=params)
    carry = initial_carry(model, params, config.training.batch_clips)
    batch = Clips(config).batch(0)
    arrays = DeviceBatch(*(jnp.asarray(x) for x in (batch.levels, batch.features, batch.mask)))
    step = jax.jit(partial(train_step, model, updates, all_reduce_sum=lambda tree: tree))
    state, carry, metrics = step(state, carry, arrays)
    return state, np.asarray(carry.big_frame), np.asarray(metrics.nll)


def close(config: Config, other: Config, rtol: float) -> None:
    state, carry, nll = after_updates(config)
    other_state, other_carry, other_nll = after_updates(other)
    np.testing.assert_allclose(other_nll, nll, rtol=rtol)
    np.testing.assert_allclose(other_carry, carry, atol=10 * rtol)
    moments, other_moments = (s.opt_state[1][0].mu["params"] for s in (state, other_state))
    for one, another in zip(jax.tree.leaves(moments), jax.tree.leaves(other_moments), strict=True):
        np.testing.assert_allclose(another, one, atol=rtol * float(np.abs(one).max()) + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["frame", pytest.param("seq", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "option",
    [pytest.param({"grad_accum_steps": 4}, marks=pytest.mark.slow), {"remat": True}],
    ids=str,
)
def test_memory_savers_change_nothing(tiny, option, variant):
    """Losses, gradients (Adam's first moments) and the carry, to rounding."""
    plain = with_model(small(tiny, chunk_samples=512, steps=4), variant=variant)
    saving = dataclasses.replace(plain, training=dataclasses.replace(plain.training, **option))
    close(plain, saving, rtol=1e-5)


@pytest.mark.slow
def test_memory_savers_save_memory(tiny):
    plain, parts, again = (
        compiled_bytes(small(tiny, chunk_samples=SAMPLES, **option), VIDEO_FRAMES)
        for option in ({}, {"grad_accum_steps": 4}, {"remat": True})
    )
    print(f"{plain / 2**20:.1f} MB; in 4 parts {parts / 2**20:.1f}; recomputed {again / 2**20:.1f}")
    assert parts < plain / 3
    assert again < plain / 1.2


def test_batch_must_divide_into_micro_batches(tiny, tmp_path):
    config = small(tiny, grad_accum_steps=3, steps=2)
    with pytest.raises(InputError, match="over 1 devices x 3 micro-batches: use a multiple of 3"):
        train(config, training_data(Clips(config)), tmp_path, jax.devices()[:1])


def test_bfloat16_matmul_and_its_gradients():
    """Factors rounded, products summed in float32, in both directions; float32 in and out."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(5, 3, 257)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(257, 33)), jnp.float32)
    out = jnp.asarray(random.normal(size=(5, 3, 33)), jnp.float32)

    def rounded(array) -> np.ndarray:
        return np.asarray(array.astype(jnp.bfloat16), np.float64)

    product, backward = jax.vjp(lambda x, kernel: matmul(x, kernel, "bfloat16"), x, kernel)
    of_x, of_kernel = backward(out)
    assert {array.dtype for array in (product, of_x, of_kernel)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(product, rounded(x) @ rounded(kernel), atol=1e-4)
    np.testing.assert_allclose(of_x, rounded(out) @ rounded(kernel).T, atol=1e-4)
    expected = np.einsum("bti,bto->io", rounded(x), rounded(out))
    np.testing.assert_allclose(of_kernel, expected, atol=1e-4)
    assert float(jnp.abs(product - matmul(x, kernel, "highest")).max()) > 1e-3


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(tiny):
    """Parameters and moments stay float32; the first losses differ by rounding."""
    exact = small(tiny, chunk_samples=512, steps=4)
    training = dataclasses.replace(exact.training, precision="bfloat16")
    state, _, nll = after_updates(dataclasses.replace(exact, training=training))
    _, _, exact_nll = after_updates(exact)
    np.testing.assert_allclose(nll, exact_nll, rtol=5e-3)
    moments = state.opt_state[1][0]
    kept = jax.tree.leaves((state.params, moments.mu, moments.nu))
    assert {leaf.dtype for leaf in kept} == {jnp.dtype(jnp.float32)}


def noisy_levels(config: Config, clips: np.ndarray, batch_number=0, number=0) -> np.ndarray:
    """The levels that the tiers read of clips whose samples are all 128."""
    levels = jnp.full((len(clips), 1024), 128, jnp.int32)
    empty = jnp.zeros((len(clips), 0))
    batch = DeviceBatch(levels.astype(jnp.uint8), empty, empty.astype(bool), jnp.asarray(clips))
    carry = initial_carry(VideoToSound(config), random_params(config), 1)
    chunk = Chunk(carry, batch, jnp.int32(number), jnp.int32(batch_number))
    return np.asarray(add_input_noise(config, levels, chunk))


def test_input_noise_follows_from_the_clip_and_the_position(tiny):
    config = small(tiny, input_noise_levels=4.0, input_noise_share=0.7)
    clips = np.arange(2_000, dtype=np.int32)
    noise = noisy_levels(config, clips) - 128
    deviations = noise.std(axis=1)
    # Noise of less than 0.15 levels rounds to none: 4 % of the sizes.
    assert (deviations > 0).mean() == pytest.approx(0.7, abs=0.05)
    assert deviations.max() == pytest.approx(4.0, rel=0.1)
    assert deviations[deviations > 0].mean() == pytest.approx(2.1, abs=0.15)
    assert abs(noise.mean()) < 0.05
    np.testing.assert_array_equal(noisy_levels(config, clips[::-1].copy()) - 128, noise[::-1])
    for other in ({"number": 1}, {"batch_number": 1}):
        assert (noisy_levels(config, clips, **other) - 128 != noise).any()
    # Its size belongs to the clip for as long as its batch is trained on.
    later = (noisy_levels(config, clips, number=1) - 128).std(axis=1)
    np.testing.assert_allclose(later, deviations, atol=0.4)


@pytest.mark.slow
def test_input_noise_spares_the_predicted_samples(tiny):
    """The loss changes, and in evaluation, which names no clips, it does not."""
    plain = small(tiny, steps=4)
    noisy = small(tiny, steps=4, input_noise_levels=8.0, input_noise_share=1.0)
    batch = Clips(plain).batch(0)
    clean_run, noisy_run = (first_loss(config, batch) for config in (plain, noisy))
    assert noisy_run != clean_run
    assert first_loss(noisy, batch, clip_index=False) == clean_run


def first_loss(config: Config, batch, *, clip_index: bool = True) -> float:
    model, params = VideoToSound(config, "highest"), random_params(config)
    state = init_state(model, STATISTICS)._replace(params=params)
    carry = initial_carry(model, params, len(batch.levels))
    fields = [batch.levels, batch.features, batch.mask]
    fields += [batch.clip_index.astype(np.int32)] if clip_index else []
    step = jax.jit(partial(train_step, model, 1, all_reduce_sum=lambda tree: tree))
    return float(step(state, carry, DeviceBatch(*map(jnp.asarray, fields)))[2].nll[0])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"input_noise_levels": -1.0}, "input_noise_levels is -1.0: use 0 or more"),
        ({"input_noise_share": 1.5}, "input_noise_share is 1.5: use 0 to 1"),
    ],
)
def test_bad_input_noise(tiny, option, message):
    with pytest.raises(InputError, match=message):
        small(tiny, **option)


def test_ema_of_parameters(tiny):
    """a <- d a + (1 - d) p after every update."""
    training = small(tiny, ema_decay=0.75, steps=4).training
    params = {"w": jnp.array([1.0, -2.0])}
    state = TrainState(jnp.int32(0), params, make_optimizer(training).init(params), params)
    expected = np.array([1.0, -2.0])
    for _ in range(3):
        state = apply_gradients(training, state, {"w": jnp.array([0.5, -0.25])})
        expected = 0.75 * expected + 0.25 * np.asarray(state.params["w"])
        np.testing.assert_allclose(state.average["w"], expected, rtol=1e-6)
    assert state.eval_params is state.average


def test_no_ema_by_default(tiny):
    state = init_state(VideoToSound(small(tiny)), STATISTICS)
    assert state.average is None and state.eval_params is state.params


@pytest.mark.slow
def test_ema_is_saved_and_resumes(tiny, tmp_path):
    """The average is loaded from the file and from a checkpoint, and resumes."""
    config = small(tiny, ema_decay=0.9, steps=8, checkpoint_every_steps=4)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    train(config, training_data(Clips(config)), whole, jax.devices()[:1])
    with pytest.raises(ConnectionAbortedError):
        stopping = Clips(config, stop_before=3)
        train(config, training_data(stopping), stopped, jax.devices()[:1])
    train(config, training_data(Clips(config)), stopped, jax.devices()[:1])
    from_run, from_stopped = load_params(whole)[1], load_params(stopped)[1]
    from_file = load_params(whole / "params.safetensors")[1]
    plain = small(tiny, steps=8)
    other = tmp_path / "plain"
    other.mkdir()
    train(plain, training_data(Clips(plain)), other, jax.devices()[:1])
    moved = 0.0
    for a, b, c, p in zip(
        *map(jax.tree.leaves, (from_run, from_stopped, from_file, load_params(other)[1])),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(c, a, rtol=1e-3, atol=1e-6)
        moved = max(moved, float(np.abs(a - p).max()))
    assert moved > 1e-4  # the average lags behind the parameters of the same run


def test_learning_rate_schedule(tiny):
    training = small(tiny, steps=12, warmup_steps=4, decay_steps=4, learning_rate=1.0).training
    rate = learning_rate(training)
    rates = [float(rate(step)) for step in range(13)]
    np.testing.assert_allclose(rates[:5], [0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(rates[4:9], 1.0)
    np.testing.assert_allclose([rates[10], rates[12]], [0.5, 0.0], atol=1e-6)


def test_paper_learning_rate_is_constant():
    assert learning_rate(PAPER.training) == 1e-3


def test_warmup_ends_where_decay_begins(tiny):
    training = small(tiny, steps=6, warmup_steps=10, decay_steps=4, learning_rate=1.0).training
    rate = learning_rate(training)
    np.testing.assert_allclose(
        [float(rate(s)) for s in (0, 1, 2, 4, 6)], [0, 0.5, 1, 0.5, 0], atol=1e-6
    )


@pytest.mark.slow
def test_bfloat16_loss_curve_matches_float32(tiny, tmp_path):
    """The loss is within 1 % of that in float32 at every logged step."""
    curves = {}
    for precision in ("highest", "bfloat16"):
        config = small(tiny, steps=200, log_every_steps=20, precision=precision)
        folder = tmp_path / precision
        folder.mkdir()
        train(config, training_data(Clips(config)), folder, jax.devices()[:1])
        curves[precision] = read_losses(folder)
    np.testing.assert_allclose(curves["bfloat16"], curves["highest"], rtol=1e-2)
    assert curves["bfloat16"][-1] < 0.8 * curves["bfloat16"][0]
