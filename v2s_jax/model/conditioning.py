"""How the video enters SampleRNN: one module for each variant of the paper (section 4).

Frame     x_i, the appearance of video frame i, is concatenated to the coarsest tier's input at
          every tick that generates samples of video frame i.

The vector enters as it is (the paper's figure shows no layer in between), or through a projection
`relu(x P + b)` when `visual_proj_dim` says so, which keeps small models small.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from v2s_jax.config import ModelConfig
from v2s_jax.model.linear import HE, Linear


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
