"""The story of sample.py, and the Python API `sonify`: videos in, their sound out."""

from v2s_jax.sonification.pipeline import sonify
from v2s_jax.sonification.report import GeneratedFiles, Report

__all__ = ["GeneratedFiles", "Report", "sonify"]
