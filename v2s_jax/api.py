"""The Python API: `sonify` for whole videos, `stream` for frames as they come."""

from v2s_jax.sonification.pipeline import sonify
from v2s_jax.sonification.streaming import stream

__all__ = ["sonify", "stream"]
