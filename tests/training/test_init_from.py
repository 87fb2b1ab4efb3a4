"""Initial parameters: warm starts and chrono initialization."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from tests.conftest import random_params, with_model
from tests.training_clips import STATISTICS, Clips, small, training_data
from v2s_jax.checkpoints import load_params, save_params
from v2s_jax.config import MAX_CHRONO_INIT_TICKS, TINY, Config
from v2s_jax.errors import InputError
from v2s_jax.model import (
    VideoToSound,
    apply_chrono_init,
    encode,
    forward,
    init_params,
    initial_carry,
)
from v2s_jax.model.loss import masked_nll
from v2s_jax.model.rnn import LSTM_FORGET_BIAS
from v2s_jax.training.init_from import warm_start
from v2s_jax.training.loop import train
from v2s_jax.training.state import init_state


def with_training(config: Config, **training) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


def flat(params) -> dict[str, np.ndarray]:
    leaves = flatten_dict(params["params"], sep="/")
    return {name: np.asarray(leaf) for name, leaf in leaves.items()}


@pytest.fixture
def frame_file(tiny, tmp_path):
    """A file of Frame's parameters."""
    config, path = small(tiny), tmp_path / "frame.safetensors"
    save_params(path, config, random_params(config))
    return path


def new_state(config: Config):
    return init_state(VideoToSound(config), STATISTICS)


@pytest.mark.slow
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_equal_model_takes_all_layers(tiny, frame_file, ema_decay):
    config = small(tiny, init_from=str(frame_file), ema_decay=ema_decay)
    initial = new_state(config)
    state, message = warm_start(frame_file, config, initial)
    read, own = flat(load_params(frame_file)[1]), flat(state.params)
    assert read.keys() == own.keys()
    for name, leaf in read.items():
        np.testing.assert_array_equal(own[name], leaf)
    np.testing.assert_equal(
        jax.tree.map(np.asarray, state.opt_state), jax.tree.map(np.asarray, initial.opt_state)
    )
    assert (state.average is None) == (ema_decay == 0)
    assert (
        state.eval_params is state.params if ema_decay == 0 else state.eval_params == state.params
    )
    assert message == f"11 of 11 layers from {frame_file}"


@pytest.mark.slow
def test_other_variant_takes_the_layers_that_fit(tiny, frame_file):
    """Seq's coarsest tier reads no features, and Frame has no encoder: both are random."""
    config = with_model(
        small(tiny, init_from=str(frame_file), chrono_init_max_ticks=64), variant="seq"
    )
    initial = flat(new_state(config).params)
    state, message = warm_start(frame_file, config, new_state(config))
    read, own = flat(load_params(frame_file)[1]), flat(state.params)
    fresh = ("encoder/gru", "sample_rnn/big_frame_tier/gru")
    random_layers = ("encoder/gru", "sample_rnn", "sample_rnn/big_frame_tier/gru")
    assert message == f"9 of 12 layers from {frame_file}; random: {', '.join(random_layers)}"
    assert initial.keys() == own.keys()
    for name, leaf in own.items():
        is_random = name.startswith(fresh) or name.endswith("_h0")
        np.testing.assert_array_equal(leaf, (initial if is_random else read)[name])


@pytest.mark.slow
def test_warm_start_without_a_fitting_layer_is_refused(tiny, frame_file):
    """Feature statistics still fit, but they are not learned."""
    config = with_model(small(tiny, init_from=str(frame_file)), dim=24, mlp_dim=20, embedding_dim=7)
    config = with_model(config, visual_proj_dim=9)
    with pytest.raises(InputError, match=r"no learned layer has the sizes of this model: use the"):
        warm_start(frame_file, config, new_state(config))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["frame", "seq", "aligned"])
@pytest.mark.parametrize("projected", [True, False])
def test_layers_that_read_other_features_are_random(tiny, tmp_path, variant, projected):
    """The projection, or without one the first layer that reads the features."""
    own = with_model(small(tiny), variant=variant, rnn_layers=2)
    if not projected:
        own = with_model(own, visual_proj_dim=None, standardize_appearance=False)
    own = with_model(own, motion_dim=own.model.appearance_dim)
    path = tmp_path / "pixels.safetensors"
    save_params(path, own, random_params(own))
    config = dataclasses.replace(own, extractor="vgg19")
    initial = flat(new_state(config).params)
    state, message = warm_start(path, config, new_state(config))
    read = flat(load_params(path)[1])
    first = {
        "frame": "sample_rnn/big_frame_tier/gru/",
        "seq": "encoder/gru/",
        "aligned": "context/input/",
    }
    fresh = "conditioning" if projected else first[variant]
    assert "random: " + fresh.removesuffix("/") in message
    for name, leaf in flat(state.params).items():
        np.testing.assert_array_equal(leaf, (initial if name.startswith(fresh) else read)[name])


def test_other_quantization_is_refused(tiny, frame_file):
    config = with_model(small(tiny, init_from=str(frame_file)), quantization="mu_law")
    with pytest.raises(InputError, match="its quantization is linear, not mu_law: add"):
        warm_start(frame_file, config, new_state(config))


def test_missing_file_is_reported(tiny, tmp_path):
    config = small(tiny, init_from=str(tmp_path / "none.safetensors"), steps=2)
    with pytest.raises(InputError, match=r"none\.safetensors: no such checkpoint"):
        train(config, training_data(Clips(config)), tmp_path, jax.devices()[:1])


@pytest.mark.slow
def test_run_resumes_without_its_init_from_file(tiny, frame_file, tmp_path, capsys):
    """The same run bit for bit, although the file is deleted before it resumes."""
    config = small(tiny, init_from=str(frame_file), steps=8, checkpoint_every_steps=4)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    train(config, training_data(Clips(config)), whole, jax.devices()[:1])
    assert f"11 of 11 layers from {frame_file}" in capsys.readouterr().out
    with pytest.raises(ConnectionAbortedError):
        stopping = Clips(config, stop_before=3)
        train(config, training_data(stopping), stopped, jax.devices()[:1])
    frame_file.unlink()
    train(config, training_data(Clips(config)), stopped, jax.devices()[:1])
    resumed = flat(load_params(stopped)[1])
    for name, leaf in flat(load_params(whole)[1]).items():
        np.testing.assert_array_equal(resumed[name], leaf)


@pytest.mark.slow
def test_run_starts_from_another_run(tiny, frame_file, tmp_path):
    """With a learning rate near 0 a run ends with its initial parameters, here a run's folder."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for init_from, folder in zip((frame_file, folders[0]), folders, strict=True):
        folder.mkdir()
        config = small(tiny, init_from=str(init_from), steps=2, learning_rate=1e-12)
        train(config, training_data(Clips(config)), folder, jax.devices()[:1])
    own = flat(load_params(folders[1])[1])
    for name, leaf in flat(load_params(frame_file)[1]).items():
        np.testing.assert_allclose(own[name], leaf, atol=1e-9)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_time_constants_are_log_spaced(cell):
    """A unit decays by half in log(2) time constants; each layer has the whole range."""
    config = with_model(TINY, variant="seq", cell=cell, rnn_layers=2)
    plain = init_params(VideoToSound(config), jax.random.key(0))
    before, after = flat(plain), flat(apply_chrono_init(plain, config.model, 200))
    dim = config.model.dim
    for name, leaf in after.items():
        layer, _, parameter = name.rpartition("/")
        part = layer.rpartition("/")[0]
        if parameter != "input_bias":
            np.testing.assert_array_equal(leaf, before[name])
            continue
        let_in, keep = leaf[:dim], 1 / (1 + np.exp(-leaf[dim : 2 * dim].astype(np.float64)))
        constants = 1 / (1 - keep)
        if part == "sample_rnn/frame_tier":
            assert constants == pytest.approx(1 + np.exp(LSTM_FORGET_BIAS) if cell == "lstm" else 2)
        else:
            assert constants[[0, -1]] == pytest.approx([2, 200], rel=1e-4)
            spacing = np.log(100) / (dim - 1)
            np.testing.assert_allclose(np.diff(np.log(constants)), spacing, rtol=1e-3)
        np.testing.assert_allclose(let_in, -leaf[dim : 2 * dim] if cell == "lstm" else 0, rtol=1e-6)
        np.testing.assert_array_equal(leaf[2 * dim :], before[name][2 * dim :])
    assert apply_chrono_init(plain, config.model, None) is plain


def test_chrono_init_carries_gradients_far_back(tiny):
    """The first video frame affects the encoder 400 frames later; by default it does not."""
    reach = {}
    for ticks in (None, 400):
        config = with_model(small(tiny, chrono_init_max_ticks=ticks), variant="seq")
        model, params = VideoToSound(config, "highest"), new_state(config).params
        random = np.random.default_rng(0)
        features = jnp.asarray(random.random((1, 400, config.model.feature_dim)), jnp.float32)
        carry, seen = initial_carry(model, params, 1), jnp.ones((1, 400), bool)

        def last(features, model=model, params=params, carry=carry, seen=seen):
            return jnp.sum(encode(model, params, carry, features, seen).big_frame)

        reach[ticks] = float(jnp.abs(jax.grad(last)(features)[0, 0]).max())
    assert reach[400] > 1e-4
    assert reach[None] < 1e-12


@pytest.mark.slow
def test_chrono_init_keeps_lstm_gradients_bounded(tiny):
    """With the default frame tier the gradient is 100,000 times as large."""
    config = with_model(
        small(tiny, chrono_init_max_ticks=1000), cell="lstm", variant="unconditional"
    )
    model, params = VideoToSound(config, "highest"), new_state(config).params
    plain = init_params(model, jax.random.key(0))["params"]["sample_rnn"]["frame_tier"]
    samples = 512 * config.model.big_frame_size
    noise = np.random.default_rng(0).normal(128, 12, (1, samples)).clip(0, 255)
    levels, mask = jnp.asarray(noise, jnp.int32), jnp.ones((1, samples), bool)
    frames = samples // config.clock.samples_per_video_frame
    nothing = jnp.zeros((1, frames, config.model.feature_dim))
    carry = initial_carry(model, params, 1)

    @jax.jit
    @jax.grad
    def gradient(params):
        _, logits = forward(model, params, carry, levels, nothing)
        return jnp.sum(masked_nll(logits, levels, mask)) / samples

    assert float(optax.tree.norm(gradient(params))) < 10
    rnn = {**params["params"]["sample_rnn"], "frame_tier": plain}
    default = gradient({"params": {**params["params"], "sample_rnn": rnn}})
    assert not float(optax.tree.norm(default)) < 1e5


@pytest.mark.parametrize("ticks", [1, 2**23 + 1, 10**15])
def test_impossible_time_constant_is_refused(tiny, ticks):
    with pytest.raises(
        InputError, match=f"chrono_init_max_ticks is {ticks}: use 2 to 8388608, or leave"
    ):
        small(tiny, chrono_init_max_ticks=ticks)


def test_longest_time_constant_still_forgets():
    kept = jax.jit(jax.nn.sigmoid)(jnp.log(jnp.float32(MAX_CHRONO_INIT_TICKS - 1)))
    assert float(kept) < 1


def test_empty_init_from_is_refused(tiny):
    with pytest.raises(InputError, match=r"init_from is empty: give a \.safetensors file"):
        small(tiny, init_from="")
