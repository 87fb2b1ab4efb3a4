"""Engines by name; all implement `v2s_jax.kernels.interface.Engine`."""

import jax

from v2s_jax.errors import InputError
from v2s_jax.kernels.cpu import CpuEngine
from v2s_jax.kernels.interface import Engine, EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import VideoToSound
from v2s_jax.sampling.scan_engine import ScanEngine


def make_engine(
    name: EngineName, model: VideoToSound, weights: WeightFormat, batch_size: int
) -> Engine:
    """Return an engine for a model without weight norm.

    Raises InputError if the engine is not built, or supports neither the device nor the model.
    """
    if name == "fused":
        return make_fused(model, weights, batch_size)
    if name == "cpu":
        return CpuEngine(model.config, weights)
    return ScanEngine(model, weights)


def make_fused(model: VideoToSound, weights: WeightFormat, batch_size: int) -> Engine:
    """Return the fused engine of this accelerator.

    On TPU one launch runs all tiers over a block. On GPU one launch draws the samples of a frame,
    and the scan engine runs the tiers above it.
    """
    # Pallas is slow to import, and only this engine needs it.
    match jax.default_backend():
        case "tpu":
            from jax.experimental.pallas.tpu import get_tpu_info

            from v2s_jax.kernels.experimental.tpu import TpuEngine

            return TpuEngine(model, weights, batch_size, get_tpu_info().vmem_capacity_bytes)
        case "gpu":
            from v2s_jax.kernels.experimental.gpu import H100_SHARED_BYTES, GpuFrame

            device = jax.devices()[0]
            shared = getattr(device, "shared_memory_per_block_optin", H100_SHARED_BYTES)
            return ScanEngine(model, weights, GpuFrame(model, weights, shared))
        case other:
            raise InputError(
                f"--engine fused on {other}: it runs on tpu and gpu only: use --engine scan, or on "
                "a CPU --engine cpu"
            )
