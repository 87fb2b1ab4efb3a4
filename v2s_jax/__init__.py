"""v2s_jax: sound for silent video (Zhou et al., CVPR 2018) in JAX/Flax."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from v2s_jax.api import SampleOptions, sonify, stream

__version__ = "0.1.0"
__all__ = ["SampleOptions", "__version__", "sonify", "stream"]


def __getattr__(name: str) -> Any:
    # Imported on demand: `import v2s_jax` stays fast and does not import JAX.
    if name in ("SampleOptions", "sonify", "stream"):
        from v2s_jax import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
