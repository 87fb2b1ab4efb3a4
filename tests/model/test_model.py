"""The model: causality, chunks, folding, conditioning, sizes."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_clip, random_params, read_along, with_model
from tests.stepwise import run_tiers
from v2s_jax.config import PAPER, Config
from v2s_jax.model import (
    VideoToSound,
    encode,
    fold_weight_norm,
    forward,
    init_params,
    initial_carry,
    prepare_for_inference,
    visual_gates,
    without_weight_norm,
)
from v2s_jax.model.conditioning import Encoder
from v2s_jax.model.rnn_stack import state_dim
from v2s_jax.model.tiers import BigFrameTier, FrameTier, SampleLevelMLP, look_up, tier_input

STEP_TOLERANCE = 1e-6  # float32 states, between -1 and 1
LOGIT_TOLERANCE = 2e-5  # float32 at "highest"; logits here are of order 1
EXACT = 1e-10  # float64, where no processor's rounding matters
VIDEO_FRAMES = 2


@pytest.fixture(autouse=True)
def strict_dtypes():
    """No silent promotion inside the model (optax relies on it, so not everywhere)."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def float64():
    """Let float64 parameters make the whole model float64: its few float32 arrays are promoted."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@lru_cache
def float64_params(config: Config):
    """Random parameters of float32 values, as float64 arrays."""
    with jax.enable_x64(False):
        params = random_params(config)
    return to_float64(params)


def to_float64(tree):
    return jax.tree.map(
        lambda leaf: leaf.astype("float64") if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        tree,
    )


@lru_cache
def jitted(config: Config):
    """The model, and its forward pass and encoder, compiled once for each shape and dtype."""
    model = VideoToSound(config, precision="highest")
    return model, jax.jit(model.apply), jax.jit(partial(encode, model))


def start_of(config: Config, params, features):
    """The carry before the first sample, in the dtype of the parameters, after encoding."""
    model, _, encoder = jitted(config)
    dtype = jax.tree.leaves(params)[0].dtype
    carry = initial_carry(model, params, features.shape[0])
    carry = carry if dtype == jnp.float32 else to_float64(carry)
    return encoder(params, carry, features, jnp.ones(features.shape[:2], bool))


def logits_of(config: Config, params, levels, appearance, chunk=None):
    """Teacher-forced logits of whole clips, in chunks of `chunk` samples."""
    _, forward, _ = jitted(config)
    per_frame = config.clock.samples_per_video_frame
    chunk = chunk or levels.shape[1]
    carry = start_of(config, params, appearance)
    parts = []
    for start in range(0, levels.shape[1], chunk):
        first, count = start // per_frame, max(1, chunk // per_frame)
        window = read_along(config, appearance, first, count)
        carry, logits = forward(params, carry, levels[:, start : start + chunk], window)
        parts.append(logits)
    return np.concatenate(parts, axis=1)


def slow(changes, name: str):
    return pytest.param(changes, id=name, marks=pytest.mark.slow)


VARIANTS = [
    pytest.param({}, id="frame"),
    pytest.param(
        {"variant": "flow", "cell": "lstm", "rnn_layers": 2, "standardize_motion": True},
        id="flow-lstm-2-layers",
    ),
    pytest.param(
        {"variant": "frame", "tiers": 2, "frame_size": 16, "rnn_layers": 3}, id="frame-2-tiers"
    ),
    pytest.param({"variant": "seq", "mlp": "original", "learn_h0": False}, id="seq-original-mlp"),
    pytest.param({"variant": "aligned"}, id="aligned"),
    slow(
        {"visual_proj_dim": None, "appearance_dim": 12, "standardize_appearance": False},
        "frame-unprojected",
    ),
    slow({"variant": "unconditional"}, "unconditional"),
    slow({"weight_norm": False, "learn_h0": False}, "plain"),
    slow({"variant": "seq"}, "seq"),
    slow({"cell": "lstm", "rnn_layers": 2}, "frame-lstm-2-layers"),
    slow({"variant": "seq", "tiers": 2, "frame_size": 16, "learn_h0": False}, "seq-2-tiers"),
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_logits_depend_on_earlier_samples_only(tiny, changes, float64):
    config = with_model(tiny, **changes)
    params = float64_params(config)
    levels, appearance = random_clip(config, VIDEO_FRAMES)
    before = logits_of(config, params, levels, appearance)
    size = config.model.big_frame_size
    for changed in (0, 1, 4 * size - 1, 4 * size, 4 * size + 1, levels.shape[1] - 1):
        other = np.array(levels)
        other[:, changed] = (other[:, changed] + 128) % 256
        after = logits_of(config, params, jnp.asarray(other), appearance)
        np.testing.assert_array_equal(before[:, : changed + 1], after[:, : changed + 1])
        if changed + 1 < levels.shape[1]:
            assert np.abs(before[:, changed + 1] - after[:, changed + 1]).max() > 1e-3


def test_video_frame_changes_nothing_before_its_samples(tiny):
    params = random_params(tiny)
    levels, appearance = random_clip(tiny, VIDEO_FRAMES)
    other = appearance.at[:, 1].set(1 - appearance[:, 1])
    before, after = (logits_of(tiny, params, levels, a) for a in (appearance, other))
    start = tiny.clock.samples_per_video_frame
    np.testing.assert_array_equal(before[:, :start], after[:, :start])
    assert np.abs(before[:, start] - after[:, start]).max() > 1e-4


@pytest.mark.parametrize(
    ("lookahead", "layers", "vectors"), [(0, 3, 1), (2, 2, 4), (3, 2, 1), (5, 3, 2)]
)
def test_aligned_reads_exactly_its_context(tiny, lookahead, layers, vectors):
    """A video frame changes nothing before its samples less the lookahead, nor after its context.

    Both ends are reached: the context is no narrower than it claims to be.
    """
    sizes = {"lookahead": lookahead, "context_layers": layers, "context_vectors": vectors}
    config = with_model(tiny, variant="aligned", **sizes)
    params = random_params(config)
    _, features = random_clip(config, video_frames=20)
    changed = features.at[:, 9].add(1.0)
    before, after = (
        visual_gates(VideoToSound(config, "highest"), params, read_along(config, clip))
        for clip in (features, changed)
    )
    differs = np.abs(before - after).max(axis=(0, 2)) > 0
    reached = np.flatnonzero(differs.reshape(20, vectors).all(axis=1))
    assert (reached[0], reached[-1]) == (9 - lookahead, 9 + 2**layers - 1)


def test_samples_of_aligned_depend_on_no_later_video_frame_than_the_lookahead(tiny):
    config = with_model(tiny, variant="aligned")
    params = random_params(config)
    levels, features = random_clip(config, video_frames=5)
    other = features.at[:, 4].set(1 - features[:, 4])
    before, after = (logits_of(config, params, levels, f) for f in (features, other))
    start = (4 - config.model.lookahead) * config.clock.samples_per_video_frame
    np.testing.assert_array_equal(before[:, :start], after[:, :start])
    assert np.abs(before[:, start] - after[:, start]).max() > 1e-4


@pytest.mark.parametrize("variant", ["seq", pytest.param("flow", marks=pytest.mark.slow)])
def test_seq_and_flow_read_the_whole_video_before_the_first_sample(tiny, variant):
    """The video enters nowhere else: the features of a chunk are not read."""
    config = with_model(tiny, variant=variant)
    params = random_params(config)
    levels, features = random_clip(config, VIDEO_FRAMES)
    before = logits_of(config, params, levels, features)
    for changed in range(VIDEO_FRAMES):
        after = logits_of(config, params, levels, features.at[:, changed].add(1.0))
        assert np.abs(before[:, 0] - after[:, 0]).max() > 1e-4
    _, apply, _ = jitted(config)
    carry = start_of(config, params, features)
    _, unseen = apply(params, carry, levels, jnp.zeros_like(features))
    np.testing.assert_array_equal(unseen, before)


@pytest.mark.parametrize("variant", ["flow", "aligned"])
def test_flow_and_aligned_read_motion(tiny, variant):
    config = with_model(tiny, variant=variant)
    params = random_params(config)
    levels, features = random_clip(config, VIDEO_FRAMES)
    assert features.shape[-1] == config.model.appearance_dim + config.model.motion_dim
    moved = features.at[..., config.model.appearance_dim :].add(1.0)
    difference = logits_of(config, params, levels, features) - logits_of(
        config, params, levels, moved
    )
    assert np.abs(difference).max() > 1e-4
    assert with_model(tiny, variant="seq").model.feature_dim == config.model.appearance_dim


@pytest.mark.parametrize("cell", [pytest.param("gru", marks=pytest.mark.slow), "lstm"])
def test_encoding_in_blocks_equals_the_whole_and_padding_is_not_read(tiny, cell, float64):
    config = with_model(tiny, variant="seq", cell=cell, rnn_layers=2)
    params = float64_params(config)
    model, _, encoder = jitted(config)
    _, features = random_clip(config, video_frames=7)
    whole = start_of(config, params, features)
    carry = to_float64(initial_carry(model, params, 2))
    for first, count in ((0, 3), (3, 1), (4, 3)):
        part = features[:, first : first + count]
        padded = jnp.concatenate([part, jnp.full_like(part, 9.0)], axis=1)
        frame_mask = jnp.arange(2 * count)[None].repeat(2, 0) < count
        carry = encoder(params, carry, padded, frame_mask)
    np.testing.assert_allclose(carry.big_frame, whole.big_frame, atol=EXACT, rtol=0)
    assert np.abs(carry.big_frame).max() > 0.01


def test_bad_chunks_raise_before_compilation(tiny):
    params = random_params(tiny)
    model = VideoToSound(tiny)
    levels, features = random_clip(tiny, video_frames=3)
    carry = initial_carry(model, params, 2)
    for samples, video_frames, message in (
        (1000, 1, "1000 samples is not in whole big frames of 16: use 992 or 1008"),
        (8, 1, "8 samples is not in whole big frames of 16: use 16 samples"),
        (1024, 3, "3 video frames for a chunk of 1024 samples"),
    ):
        with pytest.raises(ValueError, match=message):
            forward(model, params, carry, levels[:, :samples], features[:, :video_frames])


def test_unconditional_model_reads_no_features(tiny):
    config = with_model(tiny, variant="unconditional")
    params = random_params(config)
    levels, appearance = random_clip(config, VIDEO_FRAMES)
    np.testing.assert_array_equal(
        logits_of(config, params, levels, appearance),
        logits_of(config, params, levels, 1 - appearance),
    )


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("chunk", [512, pytest.param(1024, marks=pytest.mark.slow)])
def test_chunks_with_carry_equal_the_whole(tiny, changes, chunk, float64):
    is_part = chunk < tiny.clock.samples_per_video_frame
    config = with_model(tiny, **changes, **({"context_vectors": 1} if is_part else {}))
    params = float64_params(config)
    levels, appearance = random_clip(config, VIDEO_FRAMES)
    whole = logits_of(config, params, levels, appearance)
    assert whole.dtype == np.float64
    chunked = logits_of(config, params, levels, appearance, chunk)
    np.testing.assert_allclose(chunked, whole, atol=EXACT, rtol=0)


@pytest.mark.parametrize("changes", VARIANTS)
def test_steps_equal_teacher_forcing(tiny, changes, float64):
    """Generated == scored: the nested scans of the sampler, forced to choose the given levels."""
    config = with_model(tiny, **changes)
    params = float64_params(config)
    levels, appearance = random_clip(config, VIDEO_FRAMES)
    model = VideoToSound(without_weight_norm(config), precision="highest")
    inference_params = jax.jit(partial(prepare_for_inference, model))(params)
    carry = start_of(config, params, appearance)
    gates = visual_gates(model, inference_params.params, read_along(config, appearance))

    @jax.jit
    def one_vector(carry, gates, levels):
        return run_tiers(
            model, inference_params, carry, gates, levels, lambda logits, level: (level, logits)
        )

    vectors = config.model.vectors_per_frame
    samples = config.clock.samples_per_video_frame // vectors
    parts = []
    for i in range(VIDEO_FRAMES * vectors):
        gates_now = None if gates is None else gates[:, i]
        carry, logits = one_vector(carry, gates_now, levels[:, i * samples : (i + 1) * samples])
        parts.append(logits)
    scored = logits_of(config, params, levels, appearance)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), scored, atol=EXACT, rtol=0)


def test_folding_weight_norm_changes_no_logit(tiny):
    params = random_params(tiny)
    folded = {"params": fold_weight_norm(params["params"])}
    levels, appearance = random_clip(tiny, VIDEO_FRAMES)
    np.testing.assert_allclose(
        logits_of(without_weight_norm(tiny), folded, levels, appearance),
        logits_of(tiny, params, levels, appearance),
        atol=LOGIT_TOLERANCE,
        rtol=0,
    )


def test_weight_norm_starts_as_the_plain_kernel(tiny):
    params = jax.jit(partial(init_params, VideoToSound(tiny)))(jax.random.key(3))
    plain = fold_weight_norm(params["params"])["sample_rnn"]["frame_tier"]["expand"]["kernel"]
    kernel = params["params"]["sample_rnn"]["frame_tier"]["expand"]["kernel"]
    np.testing.assert_allclose(plain, kernel, rtol=1e-6)


def test_paper_preset_has_the_sizes_of_sample_rnn():
    """20.8 M in the recurrent tiers and MLP without visual features, which add 12.6 M."""

    def count(config):
        shapes = jax.eval_shape(lambda: init_params(VideoToSound(config), jax.random.key(0)))
        kernels = [
            leaf.size
            for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
            if "kernel'" in jax.tree_util.keystr(path)
        ]
        return sum(kernels), shapes["params"]["sample_rnn"]

    kernels, tiers = count(PAPER)
    dim, q = 1024, 256
    big = (8 + 4096) * 3 * dim + dim * 3 * dim + dim * 4 * dim
    middle = 2 * dim + dim * 3 * dim * 2 + dim * 2 * dim
    mlp = 2 * 256 * dim + dim * dim + dim * q
    assert kernels == big + middle + mlp
    assert tiers["sample_tier"]["embedding"].shape == (256, 256)
    assert tiers["big_frame_tier"]["gru"]["input_kernel"].shape == (4104, 3072)
    assert count(with_model(PAPER, variant="unconditional"))[0] == kernels - 4096 * 3 * dim
    assert count(with_model(PAPER, mlp="original"))[0] == kernels + dim * dim


def test_recurrent_tiers_read_twice_the_amplitude():
    levels = jnp.array([0, 64, 128, 192, 255], jnp.int32)
    np.testing.assert_array_equal(tier_input(levels, 256), [-2.0, -1.0, 0.0, 1.0, 127 / 64])


def kernels_of(config: Config) -> dict[str, np.ndarray]:
    """Every parameter by its path, as training starts from it."""
    params = jax.jit(partial(init_params, VideoToSound(config)))(jax.random.key(0))["params"]
    flat = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def test_initialisation():
    """Uniform: He reaches sqrt(6 / inputs), LeCun sqrt(3 / inputs); recurrent blocks orthogonal."""
    config = with_model(PAPER, dim=96, mlp_dim=80, appearance_dim=32, variant="seq")
    kernels = kernels_of(config)
    he = ["frame_tier/expand/kernel", "frame_tier/upsampling/kernel", "sample_tier/hidden/kernel"]
    he += ["big_frame_tier/upsampling/kernel", "sample_tier/expand_kernel"]
    lecun = ["frame_tier/gru/input_kernel", "sample_tier/output/kernel"]
    for names, square in ((he, 6), (lecun, 3)):
        for name in names:
            kernel = kernels[f"sample_rnn/{name}"]
            assert np.abs(kernel).max() == pytest.approx(np.sqrt(square / len(kernel)), rel=0.02)
            assert kernel.std() == pytest.approx(np.sqrt(square / 3 / len(kernel)), rel=0.1)
    for tier in ("encoder", "sample_rnn/big_frame_tier", "sample_rnn/frame_tier"):
        for block in np.split(kernels[f"{tier}/gru/recurrent_kernel"], 3, axis=1):
            np.testing.assert_allclose(block.T @ block, np.eye(96), atol=1e-5)
    embedding = kernels["sample_rnn/sample_tier/embedding"]
    assert (embedding.std(), embedding.mean()) == pytest.approx((1, 0), abs=0.02)
    for name, leaf in kernels.items():
        if name.endswith(("bias", "_h0")):
            assert not np.any(leaf), name


@pytest.mark.parametrize(("variant", "width"), [("seq", 4096), ("flow", 8192)])
def test_paper_encoder_is_as_wide_as_the_coarsest_tier(variant, width):
    """Its last state is the first state of that tier, which is then not learned."""
    config = with_model(PAPER, variant=variant)
    model = VideoToSound(config)
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))["params"]
    assert params["encoder"]["gru"]["input_kernel"].shape == (width, 3 * 1024)
    assert params["encoder"]["gru"]["recurrent_kernel"].shape == (1024, 3 * 1024)
    assert params["sample_rnn"]["big_frame_tier"]["gru"]["input_kernel"].shape == (8, 3 * 1024)
    assert "big_frame_h0" not in params["sample_rnn"]
    assert params["sample_rnn"]["frame_h0"].shape == (1024,)
    assert "conditioning" not in params


CELLS_AND_LAYERS = [
    pytest.param("gru", 1, marks=pytest.mark.slow),
    pytest.param("lstm", 1, marks=pytest.mark.slow),
    pytest.param("gru", 3, marks=pytest.mark.slow),
    ("lstm", 2),
]
TICKS = 12


@pytest.mark.parametrize(("cell", "layers"), CELLS_AND_LAYERS)
@pytest.mark.parametrize("layer", [BigFrameTier, FrameTier, Encoder], ids=lambda c: c.__name__)
def test_layer_equals_steps(tiny, layer, cell, layers):
    """All ticks at once equal one tick at a time, with the state carried between."""
    config = with_model(tiny, cell=cell, rnn_layers=layers, variant="seq").model
    random = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(0, 1, shape), jnp.float32)

    # Like a state during a run: h is between -1 and 1.
    state = jnp.asarray(random.uniform(-1, 1, (2, state_dim(config))), jnp.float32)
    method = layer.layer
    if layer is BigFrameTier:
        module = layer(config, 8, "highest")
        gates = len(cell) * config.dim  # "gru" has three gates, "lstm" four
        by_tick = [normal(2, TICKS, config.big_frame_size), normal(2, TICKS, gates)]
    elif layer is FrameTier:
        module = layer(config, "highest")
        by_tick = [normal(2, TICKS, config.frame_size), normal(2, TICKS, config.dim)]

        def method(tier, state, frames, conditioning):
            known = tier.conditioning_gates(conditioning)
            return tier.layer(state, frames, known, tier.frame_kernel())
    else:
        module = layer(config, 8, "highest")
        by_tick = [normal(2, TICKS, 8), jnp.asarray(random.random((2, TICKS)) < 0.7)]
    params = jax.jit(partial(module.init, method=method))(jax.random.key(1), state, *by_tick)
    run = jax.jit(partial(module.apply, method=method))
    whole = run(params, state, *by_tick)
    if layer is Encoder:
        for tick in range(TICKS):
            state = run(params, state, *(x[:, tick : tick + 1] for x in by_tick))
        np.testing.assert_allclose(state, whole, atol=STEP_TOLERANCE, rtol=0)
        return

    def to_step_state(tier, state):
        fused_kernels = tier.rnn.fused_output_kernels(tier.upsampling.kernel)
        return tier.rnn.to_step_state(state, fused_kernels), fused_kernels

    def step(tier, step_state, fused_kernels, frame, conditioning):
        if layer is BigFrameTier:
            return tier.step(step_state, frame, conditioning, fused_kernels)
        gates = tier.conditioning_gates(conditioning[:, None])[:, 0]
        return tier.step(step_state, frame, gates, tier.frame_kernel(), fused_kernels)

    step_state, fused_kernels = jax.jit(partial(module.apply, method=to_step_state))(params, state)
    step = jax.jit(partial(module.apply, method=step))
    outputs = []
    for tick in range(TICKS):
        step_state, output = step(params, step_state, fused_kernels, *(x[:, tick] for x in by_tick))
        outputs.append(output)
    np.testing.assert_allclose(step_state.state, whole[0], atol=STEP_TOLERANCE, rtol=0)
    stepped = np.concatenate(outputs, axis=1)
    np.testing.assert_allclose(stepped, whole[1], atol=LOGIT_TOLERANCE, rtol=0)


def test_lookup_tables_equal_the_product_with_embeddings(tiny):
    module = SampleLevelMLP(tiny.model, "highest")
    levels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 40)), jnp.int32)
    params = module.init(
        jax.random.key(0), levels, jnp.zeros((2, 37, 32)), method=lambda m, x, c: m(m.expand(x), c)
    )
    whole = module.apply(params, levels, method="expand")
    tables = module.apply(params, method="tables")
    for sample in range(whole.shape[1]):
        window = levels[:, sample : sample + tiny.model.frame_size]
        np.testing.assert_allclose(look_up(tables, window), whole[:, sample], atol=1e-5, rtol=0)
