"""The fused engine: the kernel of the accelerator that is there.

On TPU one launch runs all tiers over a block (`v2s_jax.kernels.experimental.tpu`); on GPU one launch draws the
samples of a frame, and the tiers above it are the scan's (`v2s_jax.kernels.experimental.gpu`).
"""

import jax

from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import Engine
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import VideoToSound
from v2s_jax.sampling.scan_engine import ScanEngine


def make_fused(model: VideoToSound, weights: WeightFormat, batch_size: int) -> Engine:
    """Return the fused engine for the device that JAX computes on.

    Raises InputError where there is no kernel for the device, or the kernel cannot run the model.
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
                f"--engine fused on {other}: there are kernels for tpu and gpu alone: use "
                "--engine scan, or on a CPU --engine cpu"
            )
