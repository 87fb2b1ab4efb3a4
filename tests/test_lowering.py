"""The training step and the evaluation lower for TPU and CUDA on a machine that has neither.

That the programs can be built for them says nothing of how they run there.
"""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import export

from tests.conftest import with_model
from tests.training_clips import small
from v2s_jax.config import DEMO, PAPER, Config
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.state import init_state
from v2s_jax.training.step import DeviceBatch, chunks_per_clip, clip_nll, train_step
from v2s_jax.types import FeatureStatistics, Statistics

PLATFORMS = ("tpu", "cuda")
VIDEO_FRAMES = 2


def statistics_of(config: Config) -> FeatureStatistics:
    return FeatureStatistics(
        *(
            Statistics(jnp.zeros(width), 1.0)
            for width in (config.model.appearance_dim, config.model.motion_dim)
        )
    )


def lowered(config: Config, platform: str) -> dict[str, str]:
    """Name and module text of what was lowered, batch and all at the config's sizes."""
    model = VideoToSound(config, config.training.precision)
    clips = config.training.batch_clips
    samples = VIDEO_FRAMES * config.clock.samples_per_video_frame
    state = jax.eval_shape(lambda: init_state(model, statistics_of(config)))
    params = state.params
    carry = jax.eval_shape(lambda params: initial_carry(model, params, clips), params)
    batch = DeviceBatch(
        jax.ShapeDtypeStruct((clips, samples), jnp.uint8),
        jax.ShapeDtypeStruct((clips, VIDEO_FRAMES, config.model.feature_dim), jnp.float16),
        jax.ShapeDtypeStruct((clips, samples), bool),
    )
    updates = chunks_per_clip(config, samples)
    step = jax.jit(partial(train_step, model, updates, total=lambda tree: tree))
    score = jax.jit(partial(clip_nll, model))
    return {
        "step": export.export(step, platforms=[platform])(state, carry, batch).mlir_module(),
        "score": export.export(score, platforms=[platform])(params, batch).mlir_module(),
    }


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(PAPER, id="paper"),
        pytest.param(with_model(PAPER, variant="flow"), id="paper-flow"),
        pytest.param(with_model(DEMO, variant="seq", cell="lstm"), id="demo-seq-lstm"),
    ],
)
def test_the_paper_s_step_lowers(config, platform):
    for name, module in lowered(config, platform).items():
        assert "stablehlo.while" in module, name  # the scans over ticks
        assert "stablehlo.dot_general" in module, name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_option_lowers(tiny, platform):
    config = small(
        tiny,
        chunk_samples=512,
        precision="bfloat16",
        micro_batches=2,
        rematerialize=True,
        ema_decay=0.99,
        warmup_steps=2,
        decay_steps=2,
    )
    module = lowered(config, platform)["step"]
    assert "bf16" in module


def test_float32_is_asked_for_where_it_is_wanted(tiny):
    assert "HIGHEST" in lowered(small(tiny, precision="highest"), "tpu")["step"]
    assert "HIGHEST" not in lowered(small(tiny, precision="default"), "tpu")["step"]
