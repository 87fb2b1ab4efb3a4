"""The package against an independent implementation in float64, and its cells against Keras."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, read_along, with_model
from tests.oracle.cells import gru, lstm
from tests.oracle.video_to_sound import Sizes, mean_nll, sample, teacher_forced
from v2s_jax.config import Clock, Config, ModelConfig
from v2s_jax.model import VideoToSound, encode, forward, init_params, initial_carry
from v2s_jax.model.loss import masked_nll
from v2s_jax.model.rnn import GRU, LSTM, CellSpec, scan_rnn
from v2s_jax.sampling import Request, Sampler, clip_key, generate
from v2s_jax.sampling.rng import uniforms

LOGIT_TOLERANCE = 1e-5
NEAR_TIE = 1e-4
VIDEO_FRAMES = 4
SMALL = Config(
    name="small",
    clock=Clock(samples_per_video_frame=32),
    model=ModelConfig(
        big_frame_size=8,
        frame_size=2,
        dim=12,
        mlp_dim=10,
        embedding_dim=6,
        appearance_dim=7,
        motion_dim=5,
        q_levels=16,
    ),
)

FAST_VARIANTS = {
    "frame": {},
    "flow-components": {
        "variant": "flow",
        "visual_proj_dim": 4,
        "standardize_appearance": True,
        "standardize_motion": True,
        "principal_components": 3,
    },
    "seq-plain": {"variant": "seq", "weight_norm": False, "learn_h0": False},
    "flow-lstm-2-layers": {"variant": "flow", "cell": "lstm", "rnn_layers": 2},
    "frame-2-tiers-3-layers": {"tiers": 2, "frame_size": 8, "rnn_layers": 3},
    "frame-original-mlp": {"mlp": "original"},
    "aligned": {"variant": "aligned", "lookahead": 2, "context_layers": 2, "context_dim": 6},
}
SLOW_VARIANTS = {
    "aligned-live-projected": {
        "variant": "aligned",
        "lookahead": 0,
        "context_layers": 3,
        "context_dim": 6,
        "visual_proj_dim": 4,
    },
    "aligned-plain-2-tiers": {
        "variant": "aligned",
        "lookahead": 1,
        "context_layers": 1,
        "context_dim": 6,
        "context_vectors": 1,
        "weight_norm": False,
        "tiers": 2,
        "frame_size": 8,
    },
    "seq": {"variant": "seq"},
    "flow": {"variant": "flow"},
    "unconditional": {"variant": "unconditional"},
    "frame-projected-standardised": {"visual_proj_dim": 3, "standardize_appearance": True},
    "flow-all-options": {
        "variant": "flow",
        "visual_proj_dim": 4,
        "standardize_appearance": True,
        "standardize_motion": True,
    },
    "frame-components": {"standardize_appearance": True, "principal_components": 2},
    "flow-motion-components": {
        "variant": "flow",
        "standardize_motion": True,
        "principal_components": 3,
    },
    "frame-plain": {"weight_norm": False, "learn_h0": False},
    "frame-lstm": {"cell": "lstm"},
    "seq-2-tiers": {"variant": "seq", "tiers": 2, "frame_size": 8},
    "unconditional-2-tiers-lstm": {
        "variant": "unconditional",
        "tiers": 2,
        "frame_size": 8,
        "cell": "lstm",
    },
    "seq-3-layers": {"variant": "seq", "rnn_layers": 3},
    "flow-2-tiers-original-mlp": {
        "variant": "flow",
        "tiers": 2,
        "frame_size": 8,
        "mlp": "original",
    },
}
VARIANTS = FAST_VARIANTS | SLOW_VARIANTS


def slow(*names: str) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def sizes_of(config: Config) -> Sizes:
    """What the oracle needs to know of a config."""
    model = config.model
    return Sizes(
        variant=model.variant,
        tiers=model.tiers,
        cell=model.cell,
        layers=model.rnn_layers,
        big_frame=model.big_frame_size,
        frame=model.frame_size,
        dim=model.dim,
        q_levels=model.q_levels,
        original_mlp=model.mlp == "original",
        samples_per_video_frame=config.clock.samples_per_video_frame,
        appearance=model.appearance_dim,
        lookahead=model.lookahead,
        context_vectors=model.vectors_per_frame,
        learn_h0=model.learn_h0,
        standardize_appearance=model.standardize_appearance,
        standardize_motion=model.standardize_motion,
        components=model.principal_components is not None,
        projects=model.visual_proj_dim is not None,
    )


def clip_of(config: Config, video_frames: int = VIDEO_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Features [video_frames feature_dim] and levels [samples] of one random clip."""
    random = np.random.default_rng(1)
    samples = video_frames * config.clock.samples_per_video_frame
    features = random.normal(0, 1, (video_frames, config.model.feature_dim)).astype(np.float32)
    return features, random.integers(0, config.model.q_levels, samples)


def package_logits(config: Config, params, features, levels) -> jax.Array:
    """The package's teacher-forced logits [samples q_levels] of the whole clip."""
    features = jnp.asarray(features)
    model = VideoToSound(config, "highest")
    frame_mask = jnp.ones((1, len(features)), bool)
    carry = encode(model, params, initial_carry(model, params, 1), features[None], frame_mask)
    window = read_along(config, features[None])
    _, logits = forward(model, params, carry, jnp.asarray(levels, jnp.int32)[None], window)
    return logits[0]


@pytest.mark.parametrize("name", [*FAST_VARIANTS, *slow(*SLOW_VARIANTS)])
def test_logits_equal_oracle(name):
    config = with_model(SMALL, **VARIANTS[name])
    params = random_params(config)
    features, levels = clip_of(config)
    package = np.asarray(jax.jit(partial(package_logits, config))(params, features, levels))
    oracle = teacher_forced(params, sizes_of(config), features, levels)
    assert oracle.std() > 0.1
    difference = np.abs(package - oracle).max()
    print(f"largest difference {difference:.1e} of logits up to {np.abs(oracle).max():.1f}")
    assert difference < LOGIT_TOLERANCE


GRADIENT_STEP = 1e-5  # float64: truncation 1e-10, rounding 1e-11, both far below float32's
GRADIENT_RTOL = 1e-3  # float32 sums over a thousand terms of either sign
GRADIENT_ATOL = 2e-6


@pytest.mark.parametrize(
    "name",
    [
        "flow-components",
        "frame-original-mlp",
        "aligned",
        *slow(
            "frame-projected-standardised",
            "seq",
            "frame-components",
            "frame-2-tiers-3-layers",
            "flow-lstm-2-layers",
            "flow-all-options",
            "unconditional",
        ),
    ],
)
def test_loss_and_gradient_equal_oracle(name):
    """The largest entry of every parameter's gradient, against finite differences of the oracle.

    The statistics of standardisation are not learned: there the gradient is 0.
    """
    config = with_model(SMALL, **VARIANTS[name])
    params = jax.tree.map(np.asarray, random_params(config))
    features, levels = clip_of(config, video_frames=2)
    sizes = sizes_of(config)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        logits = package_logits(config, params, features, levels)
        known = jnp.asarray(levels, jnp.int32)
        by_clip = masked_nll(logits[None], known[None], jnp.ones((1, len(levels)), bool))
        return jnp.sum(by_clip) / len(levels)

    value, gradient = loss(params)
    assert float(value) == pytest.approx(
        mean_nll(teacher_forced(params, sizes, features, levels), levels), rel=1e-6
    )
    wide = jax.tree.map(lambda leaf: np.array(leaf, np.float64), params)
    for (path, leaf), d_leaf in zip(
        jax.tree_util.tree_leaves_with_path(wide), jax.tree.leaves(gradient), strict=True
    ):
        leaf_name = jax.tree_util.keystr(path)
        if any(statistic in leaf_name for statistic in ("_mean", "_scale", "_components")):
            assert not np.any(d_leaf)
            continue
        place = np.unravel_index(np.argmax(np.abs(d_leaf)), leaf.shape)
        sides = []
        for step in (GRADIENT_STEP, -GRADIENT_STEP):
            value_there = leaf[place]
            leaf[place] = value_there + step
            sides.append(mean_nll(teacher_forced(wide, sizes, features, levels), levels))
            leaf[place] = value_there
        expected = (sides[0] - sides[1]) / (2 * GRADIENT_STEP)
        np.testing.assert_allclose(
            d_leaf[place],
            expected,
            rtol=GRADIENT_RTOL,
            atol=GRADIENT_ATOL,
            err_msg=leaf_name,
        )


@pytest.mark.parametrize(
    "name",
    ["frame", "aligned", *slow("flow", "seq-2-tiers", "frame-lstm", "frame-original-mlp")],
)
def test_sampled_levels_equal_oracle(name):
    """2,000 samples from the same noise: the first level that differs, if any, is a near-tie."""
    config = with_model(SMALL, **VARIANTS[name])
    params = random_params(config)
    video_frames, samples = 63, 2_000
    features, _ = clip_of(config, video_frames)
    key = clip_key(3, b"shared noise")
    generator = Sampler(config, params, batch_size=2, precision="highest")
    package = generate(generator, [Request(key, samples, features)])[0]
    per_frame = config.clock.samples_per_video_frame
    noise = [uniforms(jnp.asarray(key)[None], jnp.int32(i), per_frame) for i in range(video_frames)]
    noise = np.concatenate([np.asarray(row)[0] for row in noise])[:samples]
    oracle, gaps = sample(params, sizes_of(config), features, noise)
    differing = np.flatnonzero(package != oracle)
    agreed = int(differing[0]) if differing.size else samples
    print(f"equal for {agreed} samples; smallest gap {gaps[: agreed + 1].min():.1e}")
    if differing.size:
        assert gaps[agreed] < NEAR_TIE
    assert agreed > 500
    assert np.unique(oracle).size > 8


def cell_params(cell: GRU | LSTM, seed: int) -> dict:
    """Random parameters of one cell without weight norm."""
    random = np.random.default_rng(seed)
    width = cell.GATES * cell.dim
    params = {
        "input_kernel": random.normal(0, 0.5, (cell.inputs, width)),
        "recurrent_kernel": random.normal(0, 0.5, (cell.dim, width)),
        "input_bias": random.normal(0, 0.5, width),
    }
    if isinstance(cell, GRU):
        params["candidate_bias"] = random.normal(0, 0.5, cell.dim)
    return params


def reordered(params: dict, order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernels and bias with the gates in Keras's order."""
    gates = len(order)
    return tuple(
        np.concatenate([np.split(params[name], gates, axis=-1)[i] for i in order], axis=-1)
        for name in ("input_kernel", "recurrent_kernel", "input_bias")
    )


def one_tick(cell, state, gates):
    weights = cell.recurrent_kernel, cell.recurrent_bias
    last, _ = scan_rnn(CellSpec(type(cell), cell.precision), weights, state, gates[None], None)
    return last


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_cells_equal_keras(kind, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    inputs, dim, ticks = 5, 4, 20
    cell = kind(inputs, dim, weight_norm=False, precision="highest")
    params = cell_params(cell, seed=2)
    x = np.random.default_rng(3).normal(0, 1, (ticks, inputs))
    if kind is GRU:  # Keras: update, reset, candidate; two biases
        layer = keras.layers.GRU(dim, reset_after=True, return_sequences=True)
        kernel, recurrent, bias = reordered(params, [1, 0, 2])
        second = np.concatenate([np.zeros(2 * dim), params["candidate_bias"]])
        bias = np.stack([bias, second])
    else:  # Keras: input, forget, cell, output
        layer = keras.layers.LSTM(dim, return_sequences=True)
        kernel, recurrent, bias = reordered(params, [0, 1, 2, 3])
    with jax.numpy_rank_promotion("allow"):  # Keras's own code promotes ranks
        layer.build((1, ticks, inputs))
        layer.set_weights([kernel, recurrent, bias])
        expected = np.asarray(layer(x[None].astype(np.float32)))[0]

    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    state = jnp.zeros((1, kind.STATES * dim), jnp.float32)
    plain = np.zeros(kind.STATES * dim)
    step = gru if kind is GRU else lstm
    for tick in range(ticks):
        now = jnp.asarray(x[tick : tick + 1], jnp.float32)
        gates = now @ narrow["input_kernel"] + narrow["input_bias"][None]
        state = cell.apply({"params": narrow}, state, gates, method=one_tick)
        plain = step(params, plain, x[tick])
        np.testing.assert_allclose(state[0, :dim], expected[tick], atol=1e-5, rtol=0)
        np.testing.assert_allclose(plain[:dim], expected[tick], atol=1e-5, rtol=0)


def test_lstm_forget_bias_starts_at_3_and_all_others_at_0():
    config = with_model(SMALL, cell="lstm")
    params = jax.jit(partial(init_params, VideoToSound(config)))(jax.random.key(0))["params"]
    bias = params["sample_rnn"]["big_frame_tier"]["lstm"]["input_bias"]
    np.testing.assert_array_equal(np.split(np.asarray(bias), 4)[1], 3.0)
    assert np.count_nonzero(bias) == config.model.dim


def hand_worked_params() -> dict:
    """One unit everywhere; two tiers of one sample; three levels, whose zero is level 1."""
    one = np.ones((1, 1))
    return {
        "params": {
            "sample_rnn": {
                "big_frame_h0": np.array([0.5]),
                "big_frame_tier": {
                    "gru": {
                        "input_kernel": np.array([[0.0, 0.0, 1.0]]),
                        "recurrent_kernel": np.array([[0.0, 0.0, 1.0]]),
                        "input_bias": np.zeros(3),
                        "candidate_bias": np.zeros(1),
                    },
                    "upsampling": {"kernel": 2 * one, "bias": np.zeros(1)},
                },
                "sample_tier": {
                    "embedding": np.array([[-1.0], [0.0], [1.0]]),
                    "expand_kernel": one,
                    "hidden": {"kernel": one, "bias": np.array([1.0])},
                    "output": {"kernel": np.array([[1.0, 0.0, -1.0]]), "bias": np.zeros(3)},
                },
            }
        }
    }


def test_three_samples_by_hand():
    """Both gates are sigmoid(0) = 1/2, so h' = (tanh(x + h/2) + h) / 2, and c = 2 h'.

    Levels 0, 1, 2 read as amplitudes 2 (l - 1) / 1.5 = -4/3, 0, 4/3 and embed as -1, 0, 1.
    The MLP is y = relu(relu(e + c) + 1), and its logits are (y, 0, -y).

    sample 0, after silence (level 1):  x = 0,   e = 0
    sample 1, after level 2:            x = 4/3, e = 1
    sample 2, after level 0:            x = -4/3, e = -1
    """
    h1 = (math.tanh(0 + 0.5 / 2) + 0.5) / 2  # 0.372459
    h2 = (math.tanh(4 / 3 + h1 / 2) + h1) / 2  # 0.640540
    h3 = (math.tanh(-4 / 3 + h2 / 2) + h2) / 2  # -0.063243
    assert (h1, h2, h3) == pytest.approx((0.372459, 0.640540, -0.063243), abs=1e-6)
    y1 = 0 + 2 * h1 + 1  # 1.744919
    y2 = 1 + 2 * h2 + 1  # 3.281081
    y3 = 0 + 1  # relu(-1 - 0.126) = 0
    expected = np.array([[y, 0, -y] for y in (y1, y2, y3)])

    config = dataclasses.replace(
        SMALL,
        clock=Clock(samples_per_video_frame=1),
        training=dataclasses.replace(SMALL.training, chunk_samples=1),
        model=ModelConfig(
            variant="unconditional",
            tiers=2,
            big_frame_size=1,
            frame_size=1,
            dim=1,
            mlp_dim=1,
            embedding_dim=1,
            appearance_dim=1,
            q_levels=3,
            weight_norm=False,
        ),
    )
    params, levels, features = hand_worked_params(), np.array([2, 0, 1]), np.zeros((3, 1))
    oracle = teacher_forced(params, sizes_of(config), features, levels)
    np.testing.assert_allclose(oracle, expected, atol=1e-12)
    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    package = jax.jit(partial(package_logits, config))(
        narrow, jnp.asarray(features, jnp.float32), levels
    )
    np.testing.assert_allclose(package, expected, atol=1e-6)
