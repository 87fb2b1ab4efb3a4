"""Every engine equals teacher forcing and the scan: logits, levels, nll, batch invariance."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.requests import LENGTHS, NEAR_TIE, gap_to_border, request_of
from v2s_jax.config import PAPER, TINY
from v2s_jax.errors import InputError
from v2s_jax.evaluation.scorer import Scorer, ScorerInput
from v2s_jax.kernels import build as building
from v2s_jax.kernels.cpu import multiply_only, zero_kernel
from v2s_jax.kernels.experimental import tpu
from v2s_jax.kernels.experimental.gpu import H100_SHARED_BYTES, GpuFrame
from v2s_jax.kernels.experimental.tpu import TpuEngine
from v2s_jax.kernels.packing import COLUMN_GROUP, quantize_int8
from v2s_jax.model import VideoToSound, forward, initial_carry, without_weight_norm
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.sampling import Request, Sampler, generate
from v2s_jax.sampling import sampler as sampler_module
from v2s_jax.sampling.scan_engine import ScanEngine
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES

BATCH_SIZE = 2
LOGIT_TOLERANCE = 2e-4
"""For float32 logits of up to about 10, after two blocks of a model with random weights."""
ROUNDED_ERROR = 0.1
"""Of logits, relative to their spread. Rounding costs 0.003 to 0.007, and 0.06 for an int8 LSTM,
whose c sums over many ticks; a missing or misplaced kernel would cost about 1."""
INT8_TOLERANCE = 2e-2
"""Two engines sometimes round an activation to neighbouring 15-bit integers."""
VMEM_BYTES = 128 * 2**20
"""VMEM of a core of TPU v5e and v6e."""
ODD = with_model(TINY, dim=40, mlp_dim=24, q_levels=100, big_frame_size=32, frame_size=8)
"""Sizes that are no multiple of a vector."""
WIDE = with_model(TINY, dim=2 * COLUMN_GROUP, mlp_dim=2 * COLUMN_GROUP)
"""Columns for two threads."""


@pytest.fixture(scope="module")
def cpu():
    """The cpu engine, built once for this source: its file name in the cache is a hash."""
    if not any(map(shutil.which, building.COMPILERS)):
        pytest.skip("no C++ compiler")
    if jax.default_backend() != "cpu":
        pytest.skip("runs on a CPU only")
    building.build()
    return "cpu"


@pytest.fixture
def fused_device():
    """The kernel of this device, compiled."""
    if jax.default_backend() == "cpu":
        pytest.skip("no GPU or TPU")
    return "fused"


@pytest.fixture
def fused_tpu(monkeypatch):
    """The TPU kernel, run by Pallas' interpreter."""

    def interpreted(model, weights, batch_size):
        return TpuEngine(model, weights, batch_size, VMEM_BYTES, interpret=True)

    monkeypatch.setattr(sampler_module, "make_fused", interpreted)
    return "fused"


@pytest.fixture
def fused_gpu(monkeypatch):
    """The GPU kernel, run by Pallas' interpreter."""

    def interpreted(model, weights, batch_size):
        kernel = GpuFrame(model, weights, H100_SHARED_BYTES, interpret=True)
        return ScanEngine(model, weights, kernel)

    monkeypatch.setattr(sampler_module, "make_fused", interpreted)
    return "fused"


def slow(*values):
    """A case for `make test-all`, such as those of the interpreted kernels."""
    return pytest.param(*values, marks=pytest.mark.slow)


ENGINES = [slow("scan"), slow("fused_tpu"), slow("fused_gpu"), slow("fused_device"), "cpu"]


@pytest.fixture(params=ENGINES)
def engine(request):
    return "scan" if request.param == "scan" else request.getfixturevalue(request.param)


def rows_of(request: Request, config, blocks: int) -> np.ndarray:
    """The features of the request in each row, padded to whole blocks."""
    rows = np.zeros((BATCH_SIZE, blocks * BLOCK_VIDEO_FRAMES, config.model.feature_dim), np.float16)
    rows[:, : len(request.features)] = request.features
    return rows


def forced_logits(config, params, engine, weights, levels):
    """The logits of an engine for given levels, [samples q_levels], over whole blocks."""
    sampler = Sampler(
        config, params, batch_size=BATCH_SIZE, precision="highest", engine=engine, weights=weights
    )
    request = request_of(5, levels.shape[1])
    keys = np.stack([request.key] * BATCH_SIZE)
    stream, parts = sampler.init_state(keys), []
    size = BLOCK_VIDEO_FRAMES * 1024
    rows = rows_of(request, config, levels.shape[1] // size)
    for block in range(levels.shape[1] // size):
        features = rows[:, block * BLOCK_VIDEO_FRAMES :][:, :BLOCK_VIDEO_FRAMES]
        forced = levels[:, block * size : (block + 1) * size]
        stream, drawn = sampler.generate_block(stream, features, 1.0, forced=forced, keep="logits")
        np.testing.assert_array_equal(drawn.levels.T, forced)
        parts.append(drawn.logits)
    return np.concatenate(parts).swapaxes(0, 1)


def random_levels(config, blocks=1):
    shape = (BATCH_SIZE, blocks * BLOCK_VIDEO_FRAMES * 1024)
    return np.random.default_rng(3).integers(0, config.model.q_levels, shape).astype(np.int32)


@pytest.mark.parametrize("config", [slow(TINY), ODD], ids=["tiny", "odd sizes"])
def test_logits_equal_teacher_forcing(engine, config):
    params, levels = random_params(config), random_levels(config)
    model = VideoToSound(config, precision="highest")
    features = jnp.asarray(rows_of(request_of(5, levels.shape[1]), config, 1))
    carry = initial_carry(model, params, BATCH_SIZE)
    _, expected = forward(model, params, carry, jnp.asarray(levels), features)
    found = forced_logits(config, params, engine, "float32", levels)
    np.testing.assert_allclose(found, expected, atol=LOGIT_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine, weights",
    [
        slow("cpu", "bfloat16"),
        ("cpu", "int8"),
        slow("fused_tpu", "bfloat16"),
        slow("fused_tpu", "int8"),
        slow("fused_gpu", "bfloat16"),
    ],
    indirect=["engine"],
)
def test_engines_round_weights_like_the_scan(engine, tiny, weights):
    params, levels = random_params(tiny), random_levels(tiny)
    scan = forced_logits(tiny, params, "scan", weights, levels)
    exact = forced_logits(tiny, params, "scan", "float32", levels)
    found = forced_logits(tiny, params, engine, weights, levels)
    rounding_error = np.abs(scan - exact).mean()
    assert rounding_error > 1e-3  # the format does make a difference
    assert np.abs(found - scan).mean() < rounding_error / 4
    if weights == "int8":
        np.testing.assert_allclose(found, scan, atol=INT8_TOLERANCE)


@pytest.mark.parametrize(
    "engine, config",
    [
        slow("scan", TINY),
        slow("scan", ODD),
        slow("cpu", TINY),
        ("cpu", ODD),
        slow("fused_tpu", ODD),
        slow("fused_gpu", TINY),
    ],
    indirect=["engine"],
    ids=["scan-tiny", "scan-odd", "cpu-tiny", "cpu-odd", "fused_tpu-odd", "fused_gpu-tiny"],
)
def test_levels_equal_the_scan_except_for_near_ties(engine, config):
    params, request = random_params(config), request_of(5, 20_000)
    first, second = (
        generate(
            Sampler(config, params, batch_size=BATCH_SIZE, precision="highest", engine=name),
            [request],
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
        ("cpu", "frame"),
        *(slow("cpu", variant) for variant in ("flow", "unconditional")),
        *(slow("scan", variant) for variant in ("frame", "flow", "unconditional")),
        slow("fused_tpu", "frame"),
        slow("fused_tpu", "flow"),
        slow("fused_gpu", "frame"),
    ],
    indirect=["engine"],
)
def test_likelihood_of_sampling_equals_scoring(engine, tiny, variant):
    config = with_model(tiny, variant=variant)
    params = random_params(config)
    sampler = Sampler(config, params, batch_size=BATCH_SIZE, precision="highest", engine=engine)
    random = np.random.default_rng(4)
    features = random.random((8, config.model.feature_dim)).astype(np.float16)
    stream = sampler.init_state(np.array([[0, 1], [0, 2]], np.uint32))
    block = np.stack([features] * BATCH_SIZE)
    if config.model.encodes_video:
        stream = sampler.encode(stream, dict.fromkeys(range(BATCH_SIZE), features))
        block = block[..., :0]
    _, drawn = sampler.generate_block(stream, block, 1.0, keep="nll")
    sounds = [ScorerInput(drawn.levels[:, row], features) for row in range(BATCH_SIZE)]
    scores = Scorer(config, params, batch_size=BATCH_SIZE).score_all(sounds)
    found = drawn.nll.mean(axis=0, dtype=np.float64) * BITS_PER_NAT
    np.testing.assert_allclose(found, [score.bits_per_sample for score in scores], atol=1e-4)


@pytest.mark.parametrize("weights", [slow("float32"), slow("bfloat16"), "int8"])
def test_cpu_engine_is_batch_invariant(cpu, weights):
    """Several threads for one clip, teams of threads for several; unequal teams."""
    params = random_params(WIDE)
    requests = [request_of(number, samples) for number, samples in LENGTHS.items()]
    one, *others = (
        generate(
            Sampler(WIDE, params, batch_size=batch_size, engine=cpu, weights=weights), requests
        )
        for batch_size in (1, 3, 7)
    )
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "engine, pauses",
    [
        ("cpu", [1, 200, 3]),
        slow("cpu", [64, 65]),
        slow("fused_tpu", [64, 65]),
        slow("fused_gpu", [1, 200, 3]),
    ],
    indirect=["engine"],
)
def test_pause_changes_nothing(engine, tiny, pauses):
    sampler = Sampler(tiny, random_params(tiny), batch_size=BATCH_SIZE, engine=engine)
    keys = np.array([[0, 1], [0, 2]], np.uint32)
    rows = np.random.default_rng(1).random((BATCH_SIZE, 16, 4096)).astype(np.float16)
    _, whole = sampler.generate_block(sampler.init_state(keys), rows[:, :8], 1.0, sum(pauses))
    stream, parts = sampler.init_state(keys), []
    for ticks in pauses:
        first = int(stream.tick) // 64
        stream, drawn = sampler.generate_block(stream, rows[:, first : first + 8], 1.0, ticks)
        parts.append(drawn.levels)
    np.testing.assert_array_equal(np.concatenate(parts), whole.levels)


def test_int8_error_is_at_most_half_a_step():
    kernel = np.random.default_rng(0).normal(0, 1, (64, 5)).astype(np.float32)
    kernel[:, 3] = 0
    values, scale = map(np.asarray, quantize_int8(jnp.asarray(kernel)))
    assert np.all(np.abs(values * scale - kernel) <= scale / 2 * 1.0001)
    assert np.all(np.abs(values[:, [0, 1, 2, 4]]).max(axis=0) == 127)


@pytest.mark.parametrize("engine", ["fused_tpu", "cpu"], indirect=True)
@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm"}, {"rnn_layers": 2}, {"tiers": 2, "frame_size": 16}],
    ids=["lstm", "layers", "tiers"],
)
def test_kernels_refuse_other_models(engine, tiny, changes):
    config = with_model(tiny, **changes)
    with pytest.raises(InputError, match=f"--engine {engine}: runs 3 tiers .*use --engine scan"):
        Sampler(config, {}, engine=engine)


@pytest.mark.parametrize("engine", ["fused_tpu", "fused_gpu", "cpu"], indirect=True)
def test_kernels_refuse_the_original_mlp(engine, tiny):
    config = with_model(tiny, mlp="original")
    with pytest.raises(InputError, match=f"--engine {engine}: runs the MLP paper, .*--engine scan"):
        Sampler(config, {}, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fused_tpu", "fused_gpu"], indirect=True)
def test_kernels_run_several_groups_of_rows(engine, tiny, monkeypatch):
    monkeypatch.setattr(tpu, "MAX_ROWS", 8)
    batch_size = 19  # more than the 16 rows of a GPU program
    params, random = random_params(tiny), np.random.default_rng(2)
    keys = random.integers(0, 1000, (batch_size, 2)).astype(np.uint32)
    rows = random.random((batch_size, 1, 4096)).astype(np.float32)
    first, second = (
        sampler.generate_block(sampler.init_state(keys), rows, 0.9)[1].levels
        for sampler in (
            Sampler(tiny, params, batch_size=batch_size, precision="highest", engine=name)
            for name in ("scan", engine)
        )
    )
    assert np.all(first == second, axis=0).mean() > 0.8  # rows without a near-tie


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"cell": "lstm", "rnn_layers": 2}, {"tiers": 2, "frame_size": 16}],
    ids=["lstm", "tiers"],
)
def test_gpu_kernel_runs_under_any_tiers(fused_gpu, tiny, changes):
    config = with_model(tiny, **changes)
    params, levels = random_params(config), random_levels(config)
    scan, found = (
        forced_logits(config, params, name, "float32", levels) for name in ("scan", fused_gpu)
    )
    np.testing.assert_allclose(found, scan, atol=LOGIT_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    "changes",
    [
        {"rnn_layers": 2},
        {"cell": "lstm", "rnn_layers": 2},
        {"tiers": 2, "frame_size": 16},
        {"mlp": "original"},
    ],
    ids=["gru", "lstm", "tiers", "original-mlp"],
)
def test_scan_rounds_the_weights_of_any_model(tiny, changes, weights):
    """Also of stacked layers, LSTMs and two tiers: no kernel is missing or misplaced."""
    config = with_model(tiny, **changes)
    params, levels = random_params(config), random_levels(config)
    exact, found = (
        forced_logits(config, params, "scan", form, levels) for form in ("float32", weights)
    )
    error = np.sqrt(np.mean((found - exact) ** 2)) / exact.std()
    assert 0 < error < ROUNDED_ERROR


def test_bfloat16_parts_sum_to_the_table():
    table = np.random.default_rng(5).normal(0, 3, (2, 50, 70)).astype(np.float32)
    parts = np.asarray(jax.jit(tpu.split_bfloat16)(table)).astype(np.float32)
    np.testing.assert_array_equal((parts[:, 0] + parts[:, 1]) + parts[:, 2], table)


def test_cpu_has_no_fused_engine(tiny):
    with pytest.raises(InputError, match=r"--engine fused on cpu"):
        Sampler(tiny, {}, engine="fused")


def test_weights_that_do_not_fit_vmem_are_refused():
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


def test_mlp_that_does_not_fit_shared_memory_is_refused():
    model = VideoToSound(without_weight_norm(with_model(PAPER, mlp_dim=4096)))
    GpuFrame(model, "bfloat16", 300 * 1024)
    with pytest.raises(InputError, match=r"MLP of 4096 units takes 512 KiB .* this GPU has 227"):
        GpuFrame(model, "float32", H100_SHARED_BYTES)


def test_gpu_kernel_refuses_int8(fused_gpu, tiny):
    with pytest.raises(InputError, match="on gpu takes weights of float32 or bfloat16: use"):
        Sampler(tiny, {}, engine=fused_gpu, weights="int8")


def test_tpu_kernel_refuses_precision_high(fused_tpu, tiny):
    with pytest.raises(InputError, match="cannot run precision high: use highest"):
        Sampler(tiny, {}, engine=fused_tpu, precision="high")


def test_cpu_engine_that_is_not_built_names_the_command(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from v2s_jax.kernels import cpu as module

    module.load_library.cache_clear()  # other tests may have loaded the library
    with pytest.raises(InputError, match="not built: run v2s build"):
        Sampler(tiny, {}, engine="cpu")


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_multiply_only_visits_every_column(cpu, weights):
    """Rows of zeros give the bias: once for every column of every row in every turn."""
    groups, rows, turns = 3, 7, 5
    kernel = zero_kernel(64, groups, weights)._replace(bias=jnp.ones(groups * COLUMN_GROUP))
    sums = multiply_only(kernel, rows, turns, weights)
    assert float(sums.sum()) == groups * COLUMN_GROUP * rows * turns
