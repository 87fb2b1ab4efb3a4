"""Counter-based random numbers: one uniform number per sample.

    u = U(key, video frame, sample in it),   key = (seed, hash of the clip's content)

A level is drawn by inverting the cumulative distribution at u. So a clip's noise depends only on
the seed and its content: not on its slot, the other clips of the batch, or pauses.
"""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from v2s_jax.config import MAX_SEED
from v2s_jax.errors import InputError

MIN_TEMPERATURE = 1e-3
"""Below it the likeliest level is always drawn, and float32 soon overflows."""


def check_temperature(temperature: float) -> None:
    """Raise InputError unless `temperature` is a finite number of at least `MIN_TEMPERATURE`."""
    if not (math.isfinite(temperature) and temperature >= MIN_TEMPERATURE):
        raise InputError(
            f"temperature {temperature}: use a number from {MIN_TEMPERATURE} up, such as 0.9 or 1"
        )


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` is a valid seed: a 32-bit unsigned integer."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed}: use a whole number from 0 to {MAX_SEED}")


def clip_key(seed: int, content_hash: bytes) -> UInt32[np.ndarray, "2"]:
    """Return a clip's key: the seed, and the first 32 bits of its content's hash."""
    check_seed(seed)
    return np.array([seed, int.from_bytes(content_hash[:4], "big")], np.uint32)


def content_hash(*parts: bytes) -> bytes:
    """Return the SHA-256 of a clip's content."""
    return hashlib.sha256(b"".join(parts)).digest()


def uniforms(
    keys: UInt32[Array, "batch 2"],
    video_frame: Int[Array, ""] | Int[Array, " batch"],
    samples: int,
) -> Float[Array, "batch samples"]:
    """Return the noise of one video frame of each clip: numbers in [0, 1).

    `video_frame` counts from the clip's start.
    """

    def clip(key_data: UInt32[Array, "2"], frame: Int[Array, ""]) -> Float[Array, " samples"]:
        key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        return jax.random.uniform(jax.random.fold_in(key, frame), (samples,))

    return jax.vmap(clip)(keys, jnp.broadcast_to(video_frame, keys.shape[:1]))


def inverse_cdf(
    logits: Float[Array, "batch q_levels"], uniform: Float[Array, " batch"]
) -> Int[Array, " batch"]:
    """Return the level at which the cumulative distribution exceeds `uniform` in [0, 1)."""
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    cumulative = jnp.cumsum(weights, axis=-1)
    target = uniform[:, None] * cumulative[:, -1:]
    level = jnp.sum(cumulative <= target, axis=-1)
    return jnp.minimum(level, logits.shape[-1] - 1)
