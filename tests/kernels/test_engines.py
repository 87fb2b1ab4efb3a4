"""Every engine is held to teacher forcing and to the scan: logits, levels, likelihood, company."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.sampling.test_sampler import LENGTHS, NEAR_TIE, gap_to_border, request_of
from v2s_jax.config import PAPER, TINY
from v2s_jax.errors import InputError
from v2s_jax.evaluation.likelihood import Scorer, Sound
from v2s_jax.kernels import build as building
from v2s_jax.kernels.cpu import multiply_only, zero_kernel
from v2s_jax.kernels.experimental import tpu
from v2s_jax.kernels.experimental.gpu import H100_SHARED_BYTES, GpuFrame
from v2s_jax.kernels.experimental.tpu import TpuEngine
from v2s_jax.kernels.packing import COLUMN_GROUP, quantise
from v2s_jax.model import VideoToSound, forward, initial_carry, without_weight_norm
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.sampling import Request, Sampler, engines
from v2s_jax.sampling.sampler import BLOCK_VIDEO_FRAMES
from v2s_jax.sampling.scan_engine import ScanEngine

TILE = 2
LOGIT_TOLERANCE = 2e-4
"""Of float32 logits of up to 10 or so, after two blocks of a model with random weights."""
ROUNDED_ERROR = 0.1
"""Of logits, over their spread. Rounding costs 0.003 to 0.007, and 0.06 an LSTM with int8, whose c
sums over many ticks; a map that is lost, or put elsewhere, would cost about 1."""
INT8_TOLERANCE = 2e-2
"""Two engines round the same activations to 15 bits, now and then to neighbouring integers."""
VMEM_BYTES = 128 * 2**20
"""Of a core of TPU v5e and v6e."""
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


@pytest.fixture
def fused_tpu(monkeypatch):
    """The TPU kernel, run by Pallas' interpreter."""

    def interpreted(model, weights, batch_size):
        return TpuEngine(model, weights, batch_size, VMEM_BYTES, interpret=True)

    monkeypatch.setattr(engines, "make_fused", interpreted)
    return "fused"


@pytest.fixture
def fused_gpu(monkeypatch):
    """The GPU kernel, run by Pallas' interpreter."""

    def interpreted(model, weights, batch_size):
        kernel = GpuFrame(model, weights, H100_SHARED_BYTES, interpret=True)
        return ScanEngine(model, weights, kernel)

    monkeypatch.setattr(engines, "make_fused", interpreted)
    return "fused"


def slow(*values):
    """A case of the interpreted kernels."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(params=["scan", slow("fused_tpu"), slow("fused_gpu"), "cpu"])
def engine(request):
    return "scan" if request.param == "scan" else request.getfixturevalue(request.param)


def rows_of(request: Request, config, blocks: int) -> np.ndarray:
    """A tile of the request's features, padded to whole blocks."""
    rows = np.zeros((TILE, blocks * BLOCK_VIDEO_FRAMES, config.model.feature_dim), np.float16)
    rows[:, : len(request.features)] = request.features
    return rows


def forced_logits(config, params, engine, weights, levels):
    """An engine's logits for given levels, [samples q_levels], over whole blocks."""
    sampler = Sampler(
        config, params, batch_size=TILE, precision="highest", engine=engine, weights=weights
    )
    request = request_of(5, levels.shape[1])
    keys = np.stack([request.key] * TILE)
    stream, parts = sampler.start(keys), []
    size = BLOCK_VIDEO_FRAMES * 1024
    rows = rows_of(request, config, levels.shape[1] // size)
    for block in range(levels.shape[1] // size):
        features = rows[:, block * BLOCK_VIDEO_FRAMES :][:, :BLOCK_VIDEO_FRAMES]
        forced = levels[:, block * size : (block + 1) * size]
        stream, drawn = sampler.drawn(stream, features, 1.0, forced=forced, keep="logits")
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


@pytest.mark.parametrize(
    "engine, weights",
    [
        ("cpu", "bfloat16"),
        ("cpu", "int8"),
        slow("fused_tpu", "bfloat16"),
        slow("fused_tpu", "int8"),
        slow("fused_gpu", "bfloat16"),
    ],
    indirect=["engine"],
)
def test_engines_round_the_weights_alike(engine, tiny, weights):
    params, levels = random_params(tiny), random_levels(tiny)
    scan = forced_logits(tiny, params, "scan", weights, levels)
    exact = forced_logits(tiny, params, "scan", "float32", levels)
    found = forced_logits(tiny, params, engine, weights, levels)
    of_rounding = np.abs(scan - exact).mean()
    assert of_rounding > 1e-3  # the format does make a difference
    assert np.abs(found - scan).mean() < of_rounding / 4
    if weights == "int8":
        np.testing.assert_allclose(found, scan, atol=INT8_TOLERANCE)


@pytest.mark.parametrize(
    "engine, config",
    [
        ("scan", TINY),
        ("scan", ODD),
        ("cpu", TINY),
        ("cpu", ODD),
        slow("fused_tpu", ODD),
        slow("fused_gpu", TINY),
    ],
    indirect=["engine"],
    ids=["scan-tiny", "scan-odd", "cpu-tiny", "cpu-odd", "fused_tpu-odd", "fused_gpu-tiny"],
)
def test_levels_are_the_scan_s_but_for_near_ties(engine, config):
    params, request = random_params(config), request_of(5, 20_000)
    first, second = (
        Sampler(config, params, batch_size=TILE, precision="highest", engine=name).generate(
            [request]
        )[0]
        for name in ("scan", engine)
    )
    differing = np.flatnonzero(first != second)
    agreed = int(differing[0]) if differing.size else len(first)
    gap = gap_to_border(config, params, request, first)[: agreed + 1]
    print(f"{engine}: equal for {agreed} of {len(first)} samples, least gap {gap.min():.1e}")
    if differing.size:
        assert gap[agreed] < NEAR_TIE
    assert agreed > 1000


@pytest.mark.parametrize(
    "engine, variant",
    [
        *((name, of) for name in ("scan", "cpu") for of in ("frame", "flow", "unconditional")),
        slow("fused_tpu", "frame"),
        slow("fused_tpu", "flow"),
        slow("fused_gpu", "frame"),
    ],
    indirect=["engine"],
)
def test_likelihood_while_generating_is_the_scored_one(engine, tiny, variant):
    config = with_model(tiny, variant=variant)
    params = random_params(config)
    sampler = Sampler(config, params, batch_size=TILE, precision="highest", engine=engine)
    random = np.random.default_rng(4)
    features = random.random((8, config.model.feature_dim)).astype(np.float16)
    stream = sampler.start(np.array([[0, 1], [0, 2]], np.uint32))
    block = np.stack([features] * TILE)
    if config.model.encodes_video:
        stream = sampler.encode(stream, block.astype(np.float32), np.ones(block.shape[:2], bool))
        block = block[..., :0]
    _, drawn = sampler.drawn(stream, block, 1.0)
    sounds = [Sound(drawn.levels[:, row], features) for row in range(TILE)]
    scores = Scorer(config, params, batch_size=TILE).score_all(sounds)
    found = drawn.nats.mean(axis=0, dtype=np.float64) * BITS_PER_NAT
    np.testing.assert_allclose(found, [score.bits_per_sample for score in scores], atol=1e-4)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_the_cpu_engine_sounds_the_same_in_any_tile(cpu, tiny, weights):
    params = random_params(tiny)
    requests = [request_of(number, samples) for number, samples in LENGTHS.items()]
    one, *others = (
        Sampler(tiny, params, batch_size=batch_size, engine=cpu, weights=weights).generate(requests)
        for batch_size in (1, 3, 7)
    )
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "engine, pauses",
    [
        ("cpu", [1, 200, 3]),
        ("cpu", [64, 65]),
        slow("fused_tpu", [64, 65]),
        slow("fused_gpu", [1, 200, 3]),
    ],
    indirect=["engine"],
)
def test_a_pause_changes_nothing(engine, tiny, pauses):
    sampler = Sampler(tiny, random_params(tiny), batch_size=TILE, engine=engine)
    keys = np.array([[0, 1], [0, 2]], np.uint32)
    rows = np.random.default_rng(1).random((TILE, 16, 4096)).astype(np.float16)
    _, whole = sampler.block(sampler.start(keys), rows[:, :8], 1.0, sum(pauses))
    stream, parts = sampler.start(keys), []
    for ticks in pauses:
        first = int(stream.tick) // 64
        stream, levels = sampler.block(stream, rows[:, first : first + 8], 1.0, ticks)
        parts.append(levels)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_quantising_keeps_each_column_within_half_a_step():
    kernel = np.random.default_rng(0).normal(0, 1, (64, 5)).astype(np.float32)
    kernel[:, 3] = 0
    values, scale = map(np.asarray, quantise(jnp.asarray(kernel)))
    assert np.all(np.abs(values * scale - kernel) <= scale / 2 * 1.0001)
    assert np.all(np.abs(values[:, [0, 1, 2, 4]]).max(axis=0) == 127)


@pytest.mark.parametrize("engine", ["fused_tpu", "cpu"], indirect=True)
@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm"}, {"rnn_layers": 2}, {"tiers": 2, "frame_size": 16}],
    ids=["lstm", "layers", "tiers"],
)
def test_models_that_the_kernels_do_not_know(engine, tiny, changes):
    config = with_model(tiny, **changes)
    with pytest.raises(InputError, match=f"--engine {engine}: runs 3 tiers .*use --engine scan"):
        Sampler(config, {}, engine=engine)


@pytest.mark.parametrize("engine", ["fused_tpu", "fused_gpu"], indirect=True)
def test_the_kernels_take_a_tile_of_several_groups_of_rows(engine, tiny, monkeypatch):
    monkeypatch.setattr(tpu, "ROWS_MOST", 8)
    batch_size = 19  # 16 rows of a GPU's program and some
    params, random = random_params(tiny), np.random.default_rng(2)
    keys = random.integers(0, 1000, (batch_size, 2)).astype(np.uint32)
    rows = random.random((batch_size, 1, 4096)).astype(np.float32)
    first, second = (
        sampler.block(sampler.start(keys), rows, 0.9)[1]
        for sampler in (
            Sampler(tiny, params, batch_size=batch_size, precision="highest", engine=name)
            for name in ("scan", engine)
        )
    )
    assert np.all(first == second, axis=1).mean() > 0.8  # rows without a near-tie


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm", "rnn_layers": 2}, {"tiers": 2, "frame_size": 16}],
    ids=["lstm", "tiers"],
)
def test_the_gpu_s_kernel_takes_any_tiers_above(fused_gpu, tiny, changes):
    config = with_model(tiny, **changes)
    params, levels = random_params(config), random_levels(config)
    scan, found = (
        forced_logits(config, params, name, "float32", levels) for name in ("scan", fused_gpu)
    )
    np.testing.assert_allclose(found, scan, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    "changes",
    [
        {"rnn_layers": 2},
        {"cell": "lstm", "rnn_layers": 2},
        {"tiers": 2, "frame_size": 16},
    ],
    ids=["gru", "lstm", "tiers"],
)
def test_the_scan_rounds_the_weights_of_any_tiers(tiny, changes, weights):
    """Kernels of stacked layers, other cells and two tiers too: no map is lost or put elsewhere."""
    config = with_model(tiny, **changes)
    params, levels = random_params(config), random_levels(config)
    exact, found = (
        forced_logits(config, params, "scan", form, levels) for form in ("float32", weights)
    )
    error = np.sqrt(np.mean((found - exact) ** 2)) / exact.std()
    assert 0 < error < ROUNDED_ERROR


def test_the_parts_of_a_table_sum_to_it():
    table = np.random.default_rng(5).normal(0, 3, (2, 50, 70)).astype(np.float32)
    parts = np.asarray(jax.jit(tpu.in_parts)(table)).astype(np.float32)
    np.testing.assert_array_equal((parts[:, 0] + parts[:, 1]) + parts[:, 2], table)


def test_a_cpu_has_no_fused_engine(tiny):
    with pytest.raises(InputError, match=r"--engine fused on cpu: there are kernels for tpu"):
        Sampler(tiny, {}, engine="fused")


def test_weights_that_vmem_does_not_hold_are_refused_with_the_numbers():
    def engine(batch_size: int, weights: str) -> TpuEngine:
        return TpuEngine(
            VideoToSound(without_weight_norm(PAPER)), weights, batch_size, VMEM_BYTES // 2
        )

    with pytest.raises(
        InputError,
        match=r"for 8 rows take 69.\d MiB of VMEM, a core has 60.0 MiB for them: use "
        "--weights bfloat16, or --engine scan",
    ):
        engine(4, "float32")
    with pytest.raises(
        InputError, match=r"for 128 rows .* use --batch-size 8, --weights bfloat16, or"
    ):
        engine(500, "float32")
    engine(500, "bfloat16")


def test_shared_memory_that_does_not_hold_a_tile_is_refused_with_the_numbers():
    model = VideoToSound(without_weight_norm(with_model(PAPER, mlp_dim=4096)))
    GpuFrame(model, "bfloat16", 300 * 1024)
    with pytest.raises(InputError, match=r"MLP of 4096 units takes 512 KiB .* this GPU has 227"):
        GpuFrame(model, "float32", H100_SHARED_BYTES)


def test_int8_is_refused_by_the_gpu_s_kernel(fused_gpu, tiny):
    with pytest.raises(InputError, match="on gpu takes weights of float32 or bfloat16: use"):
        Sampler(tiny, {}, engine=fused_gpu, weights="int8")


def test_the_tpu_s_kernel_knows_no_precision_between_default_and_highest(fused_tpu, tiny):
    with pytest.raises(InputError, match="does not know precision high: use highest"):
        Sampler(tiny, {}, engine=fused_tpu, precision="high")


def test_an_engine_that_is_not_built_says_how(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from v2s_jax.kernels import cpu as module

    module._register.cache_clear()
    with pytest.raises(InputError, match=r"not built: run python -m v2s_jax.kernels.build"):
        Sampler(tiny, {}, engine="cpu")


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
    kernel = zero_kernel(64, groups, weights)._replace(bias=jnp.ones(groups * COLUMN_GROUP))
    sums = multiply_only(kernel, rows, turns, weights)
    assert float(sums.sum()) == groups * COLUMN_GROUP * rows * turns
