"""v2s_jax: sound for silent video (Zhou et al., CVPR 2018) in JAX/Flax."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from v2s_jax.live import stream
    from v2s_jax.sonification import sonify

__version__ = "0.1.0"
__all__ = ["__version__", "sonify", "stream"]


def __getattr__(name: str) -> Any:
    # Imported on demand: training and benchmarks must not need ffmpeg and what else sonify uses.
    if name == "sonify":
        from v2s_jax.sonification import sonify

        return sonify
    if name == "stream":
        from v2s_jax.live import stream

        return stream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
