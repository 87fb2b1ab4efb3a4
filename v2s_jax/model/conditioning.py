"""How the video enters SampleRNN: one module for each variant of the paper (section 4).

Frame     x_i, the appearance of video frame i, is concatenated to the coarsest tier's input at
          every tick that generates samples of video frame i.

The vector enters as it is (the paper's figure shows no layer in between), or through a projection
`relu(x P + b)` when `visual_proj_dim` says so, which keeps small models small. With
`standardize_appearance` it is (x - mean) / scale of the training set: pictures share most of their
brightness, and without its removal the little that moves drowns in it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from v2s_jax.config import ModelConfig
from v2s_jax.model.linear import HE, Linear
from v2s_jax.types import AppearanceStatistics

CONDITIONING = "conditioning"
MEAN = "appearance_mean"
SCALE = "appearance_scale"
"""Names in the tree of parameters."""


def with_statistics(params: dict[str, Any], statistics: AppearanceStatistics) -> dict[str, Any]:
    """Return the parameters of a standardising model with the training set's statistics."""
    tree = dict(params["params"])
    tree[CONDITIONING] = {
        **tree[CONDITIONING],
        MEAN: jnp.asarray(statistics.mean, jnp.float32),
        SCALE: jnp.asarray(statistics.scale, jnp.float32),
    }
    return {**params, "params": tree}


class FrameConditioning(nn.Module):
    """The Frame variant: each video frame's appearance, projected or as it is."""

    config: ModelConfig
    precision: str

    @property
    def vision_dim(self) -> int:
        """Width of what is concatenated."""
        return self.config.visual_proj_dim or self.config.appearance_dim

    @nn.compact
    def __call__(
        self, appearance: Float[Array, "batch video_frames appearance_dim"]
    ) -> Float[Array, "batch video_frames vision_dim"]:
        c = self.config
        if c.standardize_appearance:
            mean = self.param(MEAN, nn.initializers.zeros, (c.appearance_dim,))
            scale = self.param(SCALE, nn.initializers.ones, ())
            # Statistics of the training set, not to be learned.
            mean, scale = jax.lax.stop_gradient((mean, scale))
            appearance = (appearance - mean) / scale
        if c.visual_proj_dim is None:
            return appearance
        projection = Linear(
            c.appearance_dim,
            c.visual_proj_dim,
            HE,
            c.weight_norm,
            self.precision,
            name="projection",
        )
        return nn.relu(projection(appearance))
