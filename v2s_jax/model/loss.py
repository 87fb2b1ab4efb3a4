"""The loss: cross-entropy of a classifier over the levels of each sample (paper, table 1)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

BITS_PER_NAT = 1 / math.log(2)


def masked_nll(
    logits: Float[Array, "batch samples q_levels"],
    levels: Int[Array, "#batch samples"],
    mask: Bool[Array, "#batch samples"],
) -> Float[Array, " batch"]:
    """Return the sum of the negative log-likelihood over the mask, in nats, for each clip.

    A sum, not a mean: sums and counts are added over devices and chunks and divided once, because
    a mean of masked means is not the masked mean. A single row of levels and mask applies to every
    row of logits.
    """
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), levels[..., None], axis=-1)[..., 0]
    return -jnp.sum(chosen * mask.astype(jnp.float32), axis=-1)
