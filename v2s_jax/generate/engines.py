"""The engines by name, one interface behind them all (`v2s_jax.kernels.interface`)."""

from v2s_jax.generate.scan import ScanEngine
from v2s_jax.kernels.cpu import CpuEngine
from v2s_jax.kernels.interface import Engine, EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import VideoToSound


def make_engine(name: EngineName, model: VideoToSound, weights: WeightFormat) -> Engine:
    """Return an engine for a model without weight norm.

    Raises InputError where the engine is not built, or does not know the device or the model.
    """
    if name == "cpu":
        return CpuEngine(model.config, weights)
    return ScanEngine(model, weights)
