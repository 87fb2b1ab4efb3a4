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
    """Return each clip's sum of the negative log-likelihood in nats over the mask.

    A sum, not a mean: over devices and chunks sums and counts are added up and divided once,
    since a mean of masked means is not the masked mean. Levels and mask of one row are those of
    every row.
    """
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), levels[..., None], axis=-1)[..., 0]
    return -jnp.sum(chosen * mask.astype(jnp.float32), axis=-1)
