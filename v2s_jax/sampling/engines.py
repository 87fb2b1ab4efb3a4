"""The engines by name, one interface behind them all (`v2s_jax.kernels.interface`)."""

from v2s_jax.kernels.cpu import CpuEngine
from v2s_jax.kernels.interface import Engine, EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import VideoToSound
from v2s_jax.sampling.fused import make_fused
from v2s_jax.sampling.scan_engine import ScanEngine


def make_engine(
    name: EngineName, model: VideoToSound, weights: WeightFormat, batch_size: int
) -> Engine:
    """Return an engine for a model without weight norm, and tiles of so many rows.

    Raises InputError where the engine is not built, or does not know the device or the model.
    """
    if name == "fused":
        return make_fused(model, weights, batch_size)
    if name == "cpu":
        return CpuEngine(model.config, weights)
    return ScanEngine(model, weights)
