"""The temporal encoder of `aligned`: context vectors for each video frame.

Not in the paper: its Frame reads one video frame at a time, and cannot know how long ago a firework
burst, or that a stick is about to hit. Here residual, dilated convolutions with shared weights read
the video frames around each one:

    h_0[t] = projected features of video frame t
    h_k[t] = h_(k-1)[t] + relu(W_k [h_(k-1)[t - a_k]; h_(k-1)[t]; h_(k-1)[t + b_k]] + c_k)

with dilations into the past a_k = 1, 2, 4, ..., whose sum is `context_past`, and into the future
b_k, whose sum is `context_future`. Beyond the ends of a video its first and its last video frame
are repeated, so a context vector needs no mask.

A video frame lasts 64 ms, and an onset should be right to about 10. With `context_vectors` of
S > 1, a layer more gives each S-th part of a video frame its own vector, so the recurrence need not
count ticks:

    vector s of video frame t = h_n[t] + relu(V_s h_n[t] + d_s)
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from v2s_jax.config import ModelConfig
from v2s_jax.model.linear import HE_UNIFORM, RESIDUAL_UNIFORM, Linear

CONTEXT = "context"
CONTEXT_INPUT = "input"
CONTEXT_OUTPUT = "output"
"""Names in the tree of parameters: the encoder, and its layers at its two ends."""


def window_frames(
    model: ModelConfig, first: int | Int[Array, ""], count: int, video_frames: int | Int[Array, ""]
) -> Int[Array | np.ndarray, " window"]:
    """Return the video frames that the model reads for `count` of them from `first` on.

    `context_past` more before, and `context_future` more after; the first and the last of the
    clip's `video_frames` stand for those that do not exist.
    """
    window = first - model.context_past + np.arange(model.window - 1 + count)
    return window.clip(0, video_frames - 1)


def future_dilations(model: ModelConfig) -> tuple[int, ...]:
    """Return b_1 .. b_n: about half of what remains of `context_future` for each layer, last first.

    Every video frame up to `context_future` is the sum of some of them.
    """
    dilations: list[int] = []
    remaining = model.context_future
    for _ in range(model.context_layers):
        dilations.insert(0, (remaining + 1) // 2)
        remaining -= dilations[0]
    return tuple(dilations)


class ContextEncoder(nn.Module):
    """Dilated convolutions over the projected features of video frames."""

    config: ModelConfig
    visual_dim: int
    precision: str

    @nn.compact
    def __call__(
        self, visual_features: Float[Array, "batch window visual_dim"]
    ) -> Float[Array, "batch vectors context_dim"]:
        """Return the context vectors of all video frames of a window that have their context."""
        c = self.config
        hidden = self._linear(self.visual_dim, CONTEXT_INPUT, HE_UNIFORM)(visual_features)
        for layer, ahead in enumerate(future_dilations(c)):
            back = 2**layer
            length = hidden.shape[1] - back - ahead
            now = hidden[:, back : back + length]
            taps = [hidden[:, :length], now]
            if ahead:
                taps.append(hidden[:, back + ahead :])
            joined = jnp.concatenate(taps, axis=-1)
            residual = self._linear(joined.shape[-1], f"layer_{layer}", RESIDUAL_UNIFORM)
            hidden = now + nn.relu(residual(joined))
        if c.context_vectors == 1:
            return hidden
        width = c.context_vectors * c.context_dim
        output = self._linear(c.context_dim, CONTEXT_OUTPUT, RESIDUAL_UNIFORM, width)
        parts = nn.relu(output(hidden)).reshape(*hidden.shape[:2], c.context_vectors, -1)
        vectors = hidden[:, :, None] + parts
        return vectors.reshape(hidden.shape[0], -1, c.context_dim)

    def _linear(
        self, inputs: int, name: str, kernel_init: Initializer, outputs: int | None = None
    ) -> Linear:
        c = self.config
        outputs = outputs or c.context_dim
        return Linear(inputs, outputs, kernel_init, c.weight_norm, self.precision, name=name)
