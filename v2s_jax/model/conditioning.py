"""How the video enters SampleRNN (paper, section 4), and which features each variant reads.

Frame        x_i, the appearance of video frame i, is concatenated to the coarsest tier's input at
             every tick that generates samples of video frame i.
Seq          a recurrent encoder reads x_1 .. x_m; its last state is the coarsest tier's state
             before the first sample. The video enters nowhere else.
Flow         as Seq, with appearance and motion of each video frame concatenated.
Aligned      as Frame, with a context vector of appearance and motion of the video frames around
             video frame i instead of x_i (`v2s_jax.model.context`). Ours, not in the paper.

The features enter as they are (the paper's figure shows no layer in between), or with
`visual_proj_dim` through a projection `relu(x P + b)`, which keeps small models small. With
`standardize_appearance` x becomes (x - mean) / scale of the training set: video frames share most
of their brightness, which would hide the little that moves. With `principal_components` it is
(x - mean) C instead: in a dataset of many scenes overall brightness makes most of the variance,
and would hide motion too.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from v2s_jax.config import ModelConfig
from v2s_jax.errors import InputError
from v2s_jax.model.linear import HE_UNIFORM, Linear, along_last_axis, declare
from v2s_jax.model.rnn_stack import RNNStack
from v2s_jax.types import FeatureStatistics, Statistics

CONDITIONING = "conditioning"
MEAN = "_mean"
SCALE = "_scale"
COMPONENTS = "_components"
"""Names in the tree of parameters."""


def with_statistics(
    params: dict[str, Any], model: ModelConfig, statistics: FeatureStatistics | None
) -> dict[str, Any]:
    """Set the feature statistics of the training set in the parameters.

    Args:
        params: The parameters of a model.
        model: Its config. Without standardised features `params` are returned as they are.
        statistics: The statistics of the training set.

    Returns:
        A copy of `params` with the statistics.

    Raises:
        InputError: The model standardises features, and their statistics are missing.
    """
    if not model.standardized:
        return params
    if statistics is None:
        features = " and ".join(model.standardized)
        raise InputError(f"the model standardizes {features}: give the statistics")
    conditioning = dict(params["params"][CONDITIONING])
    count = model.principal_components
    for feature in model.standardized:
        moments: Statistics = getattr(statistics, feature)
        conditioning[feature + MEAN] = jnp.asarray(moments.mean, jnp.float32)
        if count is None:
            conditioning[feature + SCALE] = jnp.asarray(moments.scale, jnp.float32)
        elif moments.components is None or moments.components.shape[1] != count:
            raise InputError(f"the model reads {count} principal components: give as many")
        else:
            conditioning[feature + COMPONENTS] = jnp.asarray(moments.components, jnp.float32)
    return {**params, "params": {**params["params"], CONDITIONING: conditioning}}


class VisualProjection(nn.Module):
    """What the model reads of each video frame: its features, standardised and projected."""

    config: ModelConfig
    precision: str

    @property
    def visual_dim(self) -> int:
        """Width of the result."""
        return self.config.visual_proj_dim or self.config.standardized_dim

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch video_frames feature_dim"]
    ) -> Float[Array, "batch video_frames visual_dim"]:
        c = self.config
        appearance, motion = jnp.split(features, [c.appearance_dim], axis=-1)
        parts = {"appearance": appearance, "motion": motion}
        for feature in c.standardized:
            parts[feature] = self._standardize(feature, parts[feature])
        joined = jnp.concatenate(list(parts.values()), axis=-1)
        if c.visual_proj_dim is None:
            return joined
        projection = Linear(
            joined.shape[-1],
            c.visual_proj_dim,
            HE_UNIFORM,
            c.weight_norm,
            self.precision,
            name="projection",
        )
        return nn.relu(projection(joined))

    def _standardize(
        self, feature: str, values: Float[Array, "batch video_frames feature_dim"]
    ) -> Float[Array, "batch video_frames standardized_dim"]:
        """Apply the statistics of the training set. They are parameters, but not learned."""
        width, components = values.shape[-1], self.config.principal_components
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        mean = jax.lax.stop_gradient(declare(self, feature + MEAN, zeros, (width,)))
        centred = values - along_last_axis(mean, values)
        if components is None:
            return centred / jax.lax.stop_gradient(declare(self, feature + SCALE, ones, ()))
        matrix = declare(self, feature + COMPONENTS, zeros, (width, components))
        return jnp.matmul(centred, jax.lax.stop_gradient(matrix), precision="highest")


class Encoder(nn.Module):
    """The recurrent encoder of Seq and Flow.

    It has the shape of the coarsest tier, so its state is that tier's first state unchanged.
    """

    config: ModelConfig
    visual_dim: int
    precision: str

    def setup(self) -> None:
        self.rnn = RNNStack(self.visual_dim, self.config, self.precision)
        nn.share_scope(self, self.rnn)

    def layer(
        self,
        state: Float[Array, "batch state"],
        visual_features: Float[Array, "batch video_frames visual_dim"],
        frame_mask: Bool[Array, "batch video_frames"],
    ) -> Float[Array, "batch state"]:
        """Read video frames in order; where `frame_mask` is False the state stays the same."""
        state, _ = self.rnn.layer(state, self.rnn.input_gates(visual_features), frame_mask)
        return state
