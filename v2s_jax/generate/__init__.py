"""Autoregressive generation: noise, the tiers tick by tick, whole clips."""

from v2s_jax.generate.generator import DEFAULT_TILE, Generator, Request
from v2s_jax.generate.noise import check_seed, check_temperature, clip_key, content_hash

__all__ = [
    "DEFAULT_TILE",
    "Generator",
    "Request",
    "check_seed",
    "check_temperature",
    "clip_key",
    "content_hash",
]
