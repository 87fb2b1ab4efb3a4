"""How the video enters SampleRNN (paper, section 4), and what all variants see of it.

Frame        x_i, the appearance of video frame i, is concatenated to the coarsest tier's input at
             every tick that generates samples of video frame i.
Seq          a recurrent encoder reads x_1 .. x_m; its last state is the coarsest tier's state
             before the first sample. Vision enters nowhere else.
Flow         as Seq, with appearance and motion of each video frame concatenated.

The vector enters as it is (the paper's figure shows no layer in between), or through a projection
`relu(x P + b)` when `visual_proj_dim` says so, which keeps small models small. With
`standardize_appearance` it is (x - mean) / scale of the training set: pictures share most of their
brightness, and without its removal the little that moves drowns in it. With `principal_components`
it is (x - mean) C instead: how light a picture is as a whole makes most of the variance of a set of
many scenes, and beside it, too, the little that moves would drown.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from v2s_jax.config import ModelConfig
from v2s_jax.errors import InputError
from v2s_jax.model.linear import HE_UNIFORM, Linear
from v2s_jax.model.rnn import Recurrent
from v2s_jax.types import FeatureStatistics, Statistics

CONDITIONING = "conditioning"
MEAN = "_mean"
SCALE = "_scale"
COMPONENTS = "_components"
"""Names in the tree of parameters."""


def with_statistics(
    params: dict[str, Any], model: ModelConfig, statistics: FeatureStatistics | None
) -> dict[str, Any]:
    """Return the parameters with the training set's statistics where the model standardises.

    Raises InputError when it does and there are none.
    """
    wanted = model.standardized
    if not wanted:
        return params
    if statistics is None:
        raise InputError(f"the model standardises {' and '.join(wanted)}: give the statistics")
    conditioning = dict(params["params"][CONDITIONING])
    for feature in wanted:
        of_feature: Statistics = getattr(statistics, feature)
        conditioning[feature + MEAN] = jnp.asarray(of_feature.mean, jnp.float32)
        count = model.principal_components
        if count is None:
            conditioning[feature + SCALE] = jnp.asarray(of_feature.scale, jnp.float32)
        elif of_feature.components is None or of_feature.components.shape[1] != count:
            raise InputError(f"the model reads {count} principal components: give as many")
        else:
            conditioning[feature + COMPONENTS] = jnp.asarray(of_feature.components, jnp.float32)
    return {**params, "params": {**params["params"], CONDITIONING: conditioning}}


class VisualProjection(nn.Module):
    """What the model reads of each video frame: its features, scaled and projected as wanted."""

    config: ModelConfig
    precision: str

    @property
    def visual_dim(self) -> int:
        """Width of the result."""
        return self.config.visual_proj_dim or self.config.standardized_dim

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch video_frames feature_dim"]
    ) -> Float[Array, "batch video_frames vision_dim"]:
        c = self.config
        appearance, motion = jnp.split(features, [c.appearance_dim], axis=-1)
        parts = {"appearance": appearance, "motion": motion}
        for feature in c.standardized:
            parts[feature] = self._standardize(feature, parts[feature])
        seen = jnp.concatenate(list(parts.values()), axis=-1)
        if c.visual_proj_dim is None:
            return seen
        projection = Linear(
            seen.shape[-1],
            c.visual_proj_dim,
            HE_UNIFORM,
            c.weight_norm,
            self.precision,
            name="projection",
        )
        return nn.relu(projection(seen))

    def _standardize(
        self, feature: str, values: Float[Array, "batch video_frames feature_dim"]
    ) -> Float[Array, "batch video_frames standardized_dim"]:
        """Apply the training set's statistics, which are kept as parameters but not learned."""
        width, components = values.shape[-1], self.config.principal_components
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        centred = values - jax.lax.stop_gradient(self.param(feature + MEAN, zeros, (width,)))
        if components is None:
            return centred / jax.lax.stop_gradient(self.param(feature + SCALE, ones, ()))
        matrix = self.param(feature + COMPONENTS, zeros, (width, components))
        return jnp.matmul(centred, jax.lax.stop_gradient(matrix), precision="highest")


class Encoder(nn.Module):
    """The recurrent encoder of Seq and Flow, of the same shape as the coarsest tier.

    Its state so needs no map to become that tier's first one.
    """

    config: ModelConfig
    visual_dim: int
    precision: str

    def setup(self) -> None:
        self.rnn = Recurrent(self.visual_dim, self.config, self.precision)
        nn.share_scope(self, self.rnn)

    def __call__(
        self,
        state: Float[Array, "batch state"],
        vision: Float[Array, "batch video_frames vision_dim"],
        seen: Bool[Array, "batch video_frames"],
    ) -> Float[Array, "batch state"]:
        """Read video frames in order; one that is not `seen` leaves the state as it was."""
        state, _ = self.rnn(state, self.rnn.input_gates(vision), seen)
        return state
