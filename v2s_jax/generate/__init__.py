"""Autoregressive generation: noise, the tiers tick by tick, many clips, endless streams."""

from v2s_jax.generate.filling import Made, Options
from v2s_jax.generate.generator import DEFAULT_TILE, Generator, Request
from v2s_jax.generate.guard import Fault, find_faults
from v2s_jax.generate.many import generate_each, on_each_device
from v2s_jax.generate.noise import check_seed, check_temperature, clip_key, content_hash

__all__ = [
    "DEFAULT_TILE",
    "Fault",
    "Generator",
    "Made",
    "Options",
    "Request",
    "check_seed",
    "check_temperature",
    "clip_key",
    "content_hash",
    "find_faults",
    "generate_each",
    "on_each_device",
]
