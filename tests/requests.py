"""Requests to the sampler, and how close a clip's noise comes to a decision between two levels."""

import jax.numpy as jnp
import numpy as np

from tests.conftest import read_along
from v2s_jax.config import TINY, Config
from v2s_jax.model import VideoToSound, forward, initial_carry
from v2s_jax.sampling import Request, clip_key, content_hash
from v2s_jax.sampling.rng import uniforms

NEAR_TIE = 1e-5  # float32 sums of 256 weights, after some thousand steps of a random model
LENGTHS = {0: 3000, 1: 12_345, 2: 8192, 3: 1, 4: 9000, 5: 20_000, 6: 1024}


def request_of(number: int, samples: int, seed: int = 0, config: Config = TINY) -> Request:
    """Return a clip whose features follow from its number."""
    shape = (config.clock.video_frames(samples), config.model.feature_dim)
    features = np.random.default_rng(number).random(shape).astype(np.float16)
    return Request(clip_key(seed, content_hash(bytes([number]))), samples, features)


def gap_to_border(config: Config, params, request: Request, levels: np.ndarray) -> np.ndarray:
    """Return the distance of each sample's uniform number from the nearest border of two levels."""
    model = VideoToSound(config, precision="highest")
    video_frames = len(request.features)
    padded = np.zeros((1, video_frames * 1024), np.int32)
    padded[0, : len(levels)] = levels
    carry = initial_carry(model, params, 1)
    features = read_along(config, jnp.asarray(request.features)[None])
    _, logits = forward(model, params, carry, jnp.asarray(padded), features)
    logits = np.asarray(logits, np.float64)[0]
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    borders = np.cumsum(weights, axis=-1) / weights.sum(axis=-1, keepdims=True)
    keys = jnp.asarray(request.key)[None]
    noise = [np.asarray(uniforms(keys, jnp.int32(i), 1024))[0] for i in range(video_frames)]
    return np.abs(borders - np.concatenate(noise)[:, None]).min(axis=-1)[: len(levels)]
