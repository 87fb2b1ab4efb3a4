"""The fused engine: the kernel of the accelerator that is there."""

import jax
from jax.experimental.pallas import tpu as pltpu

from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import Engine
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.kernels.tpu import TpuEngine
from v2s_jax.model import VideoToSound


def make_fused(model: VideoToSound, weights: WeightFormat, tile: int) -> Engine:
    """Return the fused engine for the device that JAX computes on.

    Raises InputError where there is no kernel for the device, or the kernel cannot run the model.
    """
    device = jax.default_backend()
    if device != "tpu":
        instead = "cpu or --engine scan" if device == "cpu" else "scan"
        raise InputError(
            f"--engine fused on {device}: there is a kernel for TPU alone: use --engine {instead}"
        )
    return TpuEngine(model, weights, tile, pltpu.get_tpu_info().vmem_capacity_bytes)
