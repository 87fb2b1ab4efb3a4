"""The noise of generation: one counter-based uniform number for each sample.

    u = U(key, video frame, sample in it),   key = (seed, hash of the clip's content),

and the level is the inverse of the cumulative distribution at u. A clip's sound so depends on the
seed and the clip alone: not on its place in the batch, its company, or pauses.
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
"""Below it the likeliest level always wins, and float32 soon overflows."""


def check_temperature(temperature: float) -> None:
    """Raise InputError unless `temperature` is a finite number of at least `MIN_TEMPERATURE`."""
    if not (math.isfinite(temperature) and temperature >= MIN_TEMPERATURE):
        raise InputError(
            f"temperature {temperature}: use a number from {MIN_TEMPERATURE} up, such as 0.9 or 1"
        )


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` fits the generator's key."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed}: use a whole number from 0 to {MAX_SEED}")


def clip_key(seed: int, content_hash: bytes) -> UInt32[np.ndarray, "2"]:
    """Return a clip's key: the seed, and the first 32 bits of its content's hash."""
    check_seed(seed)
    return np.array([seed, int.from_bytes(content_hash[:4], "big")], np.uint32)


def content_hash(*parts: bytes) -> bytes:
    """Return the SHA-256 of a clip's content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def uniforms(
    keys: UInt32[Array, "batch 2"],
    video_frame: Int[Array, ""] | Int[Array, " batch"],
    samples: int,
) -> Float[Array, "batch samples"]:
    """Return the noise of one video frame of every row: one number in [0, 1) for each sample.

    `video_frame` counts from the start of the row's own clip.
    """

    def row(words: UInt32[Array, "2"], frame: Int[Array, ""]) -> Float[Array, " samples"]:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.uniform(jax.random.fold_in(key, frame), (samples,))

    return jax.vmap(row)(keys, jnp.broadcast_to(video_frame, keys.shape[:1]))


def inverse_cdf(
    logits: Float[Array, "batch q_levels"], uniform: Float[Array, " batch"]
) -> Int[Array, " batch"]:
    """Return the level at which the cumulative distribution passes `uniform` in [0, 1)."""
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    cumulative = jnp.cumsum(weights, axis=-1)
    target = uniform[:, None] * cumulative[:, -1:]
    level = jnp.sum(cumulative <= target, axis=-1)
    return jnp.minimum(level, logits.shape[-1] - 1)
