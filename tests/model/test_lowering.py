"""Training step, scoring and the fused engine lower for TPU and CUDA without such a device.

This shows that the programs can be built, not how they run.
"""

from functools import partial

import jax
import pytest
from jax import export

from benchmarks.training import step_shapes
from tests.conftest import with_model
from tests.fused_blocks import block_of, gpu_engine, tpu_engine
from tests.training_clips import small
from v2s_jax.config import DEMO, PAPER, Config
from v2s_jax.kernels.interface import Engine, OutputLevel
from v2s_jax.model import VideoToSound
from v2s_jax.training.step import chunks_per_clip, clip_nll, train_step

PLATFORMS = ("tpu", "cuda")
VIDEO_FRAMES = 2


def lowered(config: Config, platform: str) -> dict[str, str]:
    """Name and module text of what was lowered, batch and all at the config's sizes."""
    model = VideoToSound(config, config.training.precision)
    samples = VIDEO_FRAMES * config.clock.samples_per_video_frame
    state, carry, batch = step_shapes(model, samples, config.training.batch_clips)
    updates = chunks_per_clip(config, samples)
    step = jax.jit(partial(train_step, model, updates, all_reduce_sum=lambda tree: tree))
    score = jax.jit(partial(clip_nll, model))
    return {
        "step": export.export(step, platforms=[platform])(state, carry, batch).mlir_module(),
        "score": export.export(score, platforms=[platform])(state.params, batch).mlir_module(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(PAPER, id="paper"),
        pytest.param(with_model(PAPER, variant="flow"), id="paper-flow"),
        pytest.param(with_model(DEMO, variant="seq", cell="lstm"), id="demo-seq-lstm"),
    ],
)
def test_step_of_presets_lowers(config, platform):
    for name, module in lowered(config, platform).items():
        assert "stablehlo.while" in module, name  # the scans over ticks
        assert "stablehlo.dot_general" in module, name


@pytest.mark.parametrize("platform", ["tpu", pytest.param("cuda", marks=pytest.mark.slow)])
def test_every_option_lowers(tiny, platform):
    config = small(
        tiny,
        chunk_samples=512,
        precision="bfloat16",
        grad_accum_steps=2,
        remat=True,
        ema_decay=0.99,
        warmup_steps=2,
        decay_steps=2,
    )
    module = lowered(config, platform)["step"]
    assert "bf16" in module


@pytest.mark.slow
def test_precision_highest_requests_float32(tiny):
    assert "HIGHEST" in lowered(small(tiny, precision="highest"), "tpu")["step"]
    assert "HIGHEST" not in lowered(small(tiny, precision="default"), "tpu")["step"]


CUSTOM_CALLS = [
    export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton"),
    export.DisabledSafetyCheck.custom_call("tpu_custom_call"),
]
"""Export does not guarantee that kernels stay stable; these modules are not stored."""
H100 = jax.sharding.AbstractMesh(
    (1,),
    ("device",),
    abstract_device=jax.sharding.AbstractDevice(
        device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="cuda"
    ),
)
"""jax 0.12 needs a device to lower Triton kernels."""


FUSED = [
    pytest.param(DEMO, "bfloat16", "levels", id="demo-levels"),
    pytest.param(PAPER, "float32", "logits", id="paper-logits", marks=pytest.mark.slow),
    pytest.param(PAPER, "bfloat16", "nll", id="paper-nll", marks=pytest.mark.slow),
]
PAPER_INT8 = pytest.param(PAPER, "int8", "levels", id="paper-int8", marks=pytest.mark.slow)


def fused_module(config: Config, engine: Engine, keep: OutputLevel, platform: str) -> str:
    """The module text of one block by the fused engine."""
    run, shapes = block_of(config, engine, keep)
    exported = export.export(run, platforms=[platform], disabled_checks=CUSTOM_CALLS)
    return exported(*shapes).mlir_module()


@pytest.mark.parametrize("config, weights, keep", [*FUSED, PAPER_INT8])
def test_fused_engine_lowers_for_tpu(config, weights, keep):
    module = fused_module(config, tpu_engine(config, weights), keep, "tpu")
    assert module.count("@tpu_custom_call") == 1  # one launch for the whole block
    assert "v2s_fused_tiers" in module


@pytest.mark.parametrize("config, weights, keep", FUSED)
def test_fused_engine_lowers_for_cuda(config, weights, keep):
    with jax.sharding.use_abstract_mesh(H100):
        module = fused_module(config, gpu_engine(config, weights), keep, "cuda")
    assert module.count("@__gpu$xla.gpu.triton") == 1  # one launch in the loop over frames
    assert "v2s_fused_frame" in module
