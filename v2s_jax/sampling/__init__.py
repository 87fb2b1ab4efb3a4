"""Autoregressive generation: noise, the tiers tick by tick, many clips, endless streams."""

from v2s_jax.sampling.continuous_batching import GenerationOptions, GenerationResult
from v2s_jax.sampling.degeneracy import Degeneracy, find_degeneracies
from v2s_jax.sampling.multi_device import generate_stream, replicate_sampler
from v2s_jax.sampling.rng import check_seed, check_temperature, clip_key, content_hash
from v2s_jax.sampling.sampler import DEFAULT_BATCH_SIZE, Request, Sampler

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "Degeneracy",
    "GenerationOptions",
    "GenerationResult",
    "Request",
    "Sampler",
    "check_seed",
    "check_temperature",
    "clip_key",
    "content_hash",
    "find_degeneracies",
    "generate_stream",
    "replicate_sampler",
]
