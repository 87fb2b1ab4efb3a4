"""Autoregressive generation: noise, tiers tick by tick, continuous batching, endless streams."""

from v2s_jax.sampling.degeneracy import Degeneracy, find_degeneracies
from v2s_jax.sampling.engine_choice import EngineChoice, choose_engine
from v2s_jax.sampling.multi_device import generate, generate_stream, replicate_sampler
from v2s_jax.sampling.rng import check_seed, check_temperature, clip_key, content_hash
from v2s_jax.sampling.sampler import Sampler
from v2s_jax.sampling.types import (
    DEFAULT_BATCH_SIZE,
    GenerationOptions,
    GenerationResult,
    Request,
)

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "Degeneracy",
    "EngineChoice",
    "GenerationOptions",
    "GenerationResult",
    "Request",
    "Sampler",
    "check_seed",
    "check_temperature",
    "choose_engine",
    "clip_key",
    "content_hash",
    "find_degeneracies",
    "generate",
    "generate_stream",
    "replicate_sampler",
]
