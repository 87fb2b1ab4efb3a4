"""The story of sample.py, and the Python API `sonify`: videos in, their sound out."""

from v2s_jax.shipped import SHIPPED_CHECKPOINT
from v2s_jax.sonification.report import Report, Sounded
from v2s_jax.sonification.story import sonify

__all__ = ["SHIPPED_CHECKPOINT", "Report", "Sounded", "sonify"]
