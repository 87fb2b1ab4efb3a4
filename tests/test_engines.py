"""Every engine is held to teacher forcing and to the scan: logits, levels, likelihood, company."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.test_generate import LENGTHS, NEAR_TIE, gap_to_border, request_of
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.evaluation.likelihood import Scorer, Sound
from v2s_jax.generate import Generator, Request
from v2s_jax.generate.generator import BLOCK_VIDEO_FRAMES
from v2s_jax.kernels import build as building
from v2s_jax.kernels.cpu import multiply_only, zero_kernel
from v2s_jax.kernels.packing import GROUP, quantise
from v2s_jax.model import VideoToSound, forward, initial_carry
from v2s_jax.training.loss import BITS_PER_NAT

TILE = 2
LOGIT_TOLERANCE = 2e-4
"""Of float32 logits of up to 10 or so, after two blocks of a model with random weights."""
INT8_TOLERANCE = 2e-2
"""Two engines round the same activations to 15 bits, now and then to neighbouring integers."""
ODD = with_model(TINY, dim=40, mlp_dim=24, q_levels=100, big_frame_size=32, frame_size=8)
"""Sizes that no vector divides."""


@pytest.fixture(scope="module", autouse=True)
def cpu_engine_in_a_folder_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def cpu():
    if not any(map(shutil.which, building.COMPILERS)):
        pytest.skip("no C++ compiler here: the cpu engine is not tested")
    building.build()
    return "cpu"


@pytest.fixture(params=["scan", "cpu"])
def engine(request):
    return request.getfixturevalue("cpu") if request.param == "cpu" else request.param


def rows_of(request: Request, config, blocks: int) -> np.ndarray:
    """A tile of the request's features, padded to whole blocks."""
    rows = np.zeros((TILE, blocks * BLOCK_VIDEO_FRAMES, config.model.feature_dim), np.float16)
    rows[:, : len(request.features)] = request.features
    return rows


def forced_logits(config, params, engine, weights, levels):
    """An engine's logits for given levels, [samples q_levels], over whole blocks."""
    generator = Generator(
        config, params, tile=TILE, precision="highest", engine=engine, weights=weights
    )
    request = request_of(5, levels.shape[1])
    keys = np.stack([request.key] * TILE)
    stream, parts = generator.start(keys), []
    size = BLOCK_VIDEO_FRAMES * 1024
    rows = rows_of(request, config, levels.shape[1] // size)
    for block in range(levels.shape[1] // size):
        features = rows[:, block * BLOCK_VIDEO_FRAMES :][:, :BLOCK_VIDEO_FRAMES]
        forced = levels[:, block * size : (block + 1) * size]
        stream, drawn = generator.drawn(stream, features, 1.0, forced=forced, keep="logits")
        np.testing.assert_array_equal(drawn.levels.T, forced)
        parts.append(drawn.logits)
    return np.concatenate(parts).swapaxes(0, 1)


def random_levels(config, blocks=1):
    shape = (TILE, blocks * BLOCK_VIDEO_FRAMES * 1024)
    return np.random.default_rng(3).integers(0, config.model.q_levels, shape).astype(np.int32)


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd sizes"])
def test_logits_are_those_of_teacher_forcing(engine, config):
    params, levels = random_params(config), random_levels(config)
    model = VideoToSound(config, precision="highest")
    features = jnp.asarray(rows_of(request_of(5, levels.shape[1]), config, 1))
    carry = initial_carry(model, params, TILE)
    _, expected = forward(model, params, carry, jnp.asarray(levels), features)
    found = forced_logits(config, params, engine, "float32", levels)
    np.testing.assert_allclose(found, expected, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_engines_round_the_weights_alike(cpu, tiny, weights):
    params, levels = random_params(tiny), random_levels(tiny)
    scan = forced_logits(tiny, params, "scan", weights, levels)
    exact = forced_logits(tiny, params, "scan", "float32", levels)
    found = forced_logits(tiny, params, cpu, weights, levels)
    of_rounding = np.abs(scan - exact).mean()
    assert of_rounding > 1e-3  # the format does make a difference
    assert np.abs(found - scan).mean() < of_rounding / 4
    if weights == "int8":
        np.testing.assert_allclose(found, scan, atol=INT8_TOLERANCE)


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd sizes"])
def test_levels_are_the_scan_s_but_for_near_ties(engine, config):
    params, request = random_params(config), request_of(5, 20_000)
    first, second = (
        Generator(config, params, tile=TILE, precision="highest", engine=name).generate([request])[
            0
        ]
        for name in ("scan", engine)
    )
    differing = np.flatnonzero(first != second)
    agreed = int(differing[0]) if differing.size else len(first)
    gap = gap_to_border(config, params, request, first)[: agreed + 1]
    print(f"{engine}: equal for {agreed} of {len(first)} samples, least gap {gap.min():.1e}")
    if differing.size:
        assert gap[agreed] < NEAR_TIE
    assert agreed > 1000


@pytest.mark.parametrize("variant", ["frame", "flow", "unconditional"])
def test_likelihood_while_generating_is_the_scored_one(engine, tiny, variant):
    config = with_model(tiny, variant=variant)
    params = random_params(config)
    generator = Generator(config, params, tile=TILE, precision="highest", engine=engine)
    random = np.random.default_rng(4)
    features = random.random((8, config.model.feature_dim)).astype(np.float16)
    stream = generator.start(np.array([[0, 1], [0, 2]], np.uint32))
    block = np.stack([features] * TILE)
    if config.model.encodes_video:
        stream = generator.encode(stream, block.astype(np.float32), np.ones(block.shape[:2], bool))
        block = block[..., :0]
    _, drawn = generator.drawn(stream, block, 1.0)
    sounds = [Sound(drawn.levels[:, row], features) for row in range(TILE)]
    scores = Scorer(config, params, tile=TILE).score_all(sounds)
    found = drawn.nats.mean(axis=0, dtype=np.float64) * BITS_PER_NAT
    np.testing.assert_allclose(found, [score.bits_per_sample for score in scores], atol=1e-4)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_the_cpu_engine_sounds_the_same_in_any_tile(cpu, tiny, weights):
    params = random_params(tiny)
    requests = [request_of(number, samples) for number, samples in LENGTHS.items()]
    one, *others = (
        Generator(tiny, params, tile=tile, engine=cpu, weights=weights).generate(requests)
        for tile in (1, 3, 7)
    )
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ["cpu"], indirect=True)
@pytest.mark.parametrize("pauses", [[1, 200, 3], [64, 65]], ids=str)
def test_a_pause_changes_nothing(engine, tiny, pauses):
    generator = Generator(tiny, random_params(tiny), tile=TILE, engine=engine)
    keys = np.array([[0, 1], [0, 2]], np.uint32)
    rows = np.random.default_rng(1).random((TILE, 16, 4096)).astype(np.float16)
    _, whole = generator.block(generator.start(keys), rows[:, :8], 1.0, sum(pauses))
    stream, parts = generator.start(keys), []
    for ticks in pauses:
        first = int(stream.tick) // 64
        stream, levels = generator.block(stream, rows[:, first : first + 8], 1.0, ticks)
        parts.append(levels)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_quantising_keeps_each_column_within_half_a_step():
    kernel = np.random.default_rng(0).normal(0, 1, (64, 5)).astype(np.float32)
    kernel[:, 3] = 0
    values, scale = map(np.asarray, quantise(jnp.asarray(kernel)))
    assert np.all(np.abs(values * scale - kernel) <= scale / 2 * 1.0001)
    assert np.all(np.abs(values[:, [0, 1, 2, 4]]).max(axis=0) == 127)


@pytest.mark.parametrize("engine", ["cpu"], indirect=True)
@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm"}, {"rnn_layers": 2}, {"tiers": 2, "frame_size": 16}],
    ids=["lstm", "layers", "tiers"],
)
def test_models_that_the_kernels_do_not_know(engine, tiny, changes):
    config = with_model(tiny, **changes)
    with pytest.raises(InputError, match=f"--engine {engine}: runs 3 tiers .*use --engine scan"):
        Generator(config, {}, engine=engine)


def test_an_engine_that_is_not_built_says_how(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from v2s_jax.kernels import cpu as module

    module._register.cache_clear()
    with pytest.raises(InputError, match=r"not built: run python -m v2s_jax.kernels.build"):
        Generator(tiny, {}, engine="cpu")


def test_building_needs_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(building, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(InputError, match=r"no C\+\+ compiler: install"):
        building.build()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"no-such-compiler: cannot be run .*: set CXX"):
        building.build()
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_the_loop_that_ceilings_are_measured_with_leaves_no_column_out(cpu, weights):
    """Rows of zeros give the bias: every column of every row as often as it is asked for."""
    groups, rows, turns = 3, 7, 5
    kernel = zero_kernel(64, groups, weights)._replace(bias=jnp.ones(groups * GROUP))
    sums = multiply_only(kernel, rows, turns, weights)
    assert float(sums.sum()) == groups * GROUP * rows * turns
