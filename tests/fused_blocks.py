"""One block of the fused engine, as shapes: to lower or compile it without the device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from v2s_jax.config import Config
from v2s_jax.kernels.experimental.gpu import H100_SHARED_BYTES, GpuFrame
from v2s_jax.kernels.experimental.tpu import TpuEngine
from v2s_jax.kernels.interface import BlockInputs, Engine, OutputLevel
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import (
    VideoToSound,
    init_params,
    initial_carry,
    prepare_for_inference,
    without_weight_norm,
)
from v2s_jax.sampling.scan_engine import ScanEngine

BATCH_SIZE = 4
VIDEO_FRAMES = 2
VMEM_BYTES = {"v5e": 128 * 2**20, "v5p": 64 * 2**20, "v6e": 128 * 2**20}
"""VMEM of a core."""


def tpu_engine(config: Config, weights: WeightFormat, tpu: str = "v5e") -> Engine:
    model = VideoToSound(without_weight_norm(config), "highest")
    return TpuEngine(model, weights, BATCH_SIZE, VMEM_BYTES[tpu])


def gpu_engine(config: Config, weights: WeightFormat) -> Engine:
    model = VideoToSound(without_weight_norm(config), "highest")
    return ScanEngine(model, weights, GpuFrame(model, weights, H100_SHARED_BYTES))


def block_of(config: Config, engine: Engine, keep: OutputLevel) -> tuple[Callable[..., Any], Any]:
    """The jitted function of a block, and its arguments' shapes."""
    model = VideoToSound(without_weight_norm(config), "highest")
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    packed = jax.eval_shape(
        lambda params: engine.pack(prepare_for_inference(model, params)), params
    )
    carry = jax.eval_shape(lambda params: initial_carry(model, params, BATCH_SIZE), params)
    c = config.model
    per_frame = config.clock.samples_per_video_frame // c.big_frame_size
    number = jax.ShapeDtypeStruct((), jnp.int32)
    inputs = BlockInputs(
        jax.ShapeDtypeStruct((VIDEO_FRAMES, BATCH_SIZE, 3 * c.dim), jnp.float32),
        jax.ShapeDtypeStruct((VIDEO_FRAMES, BATCH_SIZE, per_frame, c.big_frame_size), jnp.float32),
        None,
        jax.ShapeDtypeStruct((), jnp.float32),
        number,
        number,
    )
    return jax.jit(partial(engine.run_big_frames, keep=keep)), (packed, carry, inputs)
