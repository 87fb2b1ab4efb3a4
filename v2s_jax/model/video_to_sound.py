"""Visual to Sound: features of the video frames condition a SampleRNN.

Features and levels of a chunk come in, logits go out; the carry links chunk to chunk. Chunked
teacher forcing equals one pass over the whole clip, and generation runs the same tiers one tick
at a time (`v2s_jax.sampling`). Seq and Flow `encode` the video before the first chunk, Frame sees
it chunk by chunk.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model.conditioning import Encoder, VisualProjection
from v2s_jax.model.sample_rnn import Carry, SampleRNN


class VideoToSound(nn.Module):
    """The whole model.

    `precision` is that of every matrix product: "highest" is float32 arithmetic on every device,
    "default" lets a TPU use bfloat16 passes and a recent NVIDIA GPU TF32, "bfloat16" rounds the
    factors everywhere (`linear.product`).
    """

    config: Config
    precision: str = "default"

    def setup(self) -> None:
        model = self.config.model
        concatenated = 0
        if model.variant != "unconditional":
            self.conditioning = VisualProjection(model, self.precision)
            if model.encodes_video:
                self.encoder = Encoder(model, self.conditioning.visual_dim, self.precision)
            else:
                concatenated = self.conditioning.visual_dim
        self.sample_rnn = SampleRNN(model, concatenated, self.precision)

    def initial_carry(self, batch: int) -> Carry:
        """Return the carry before a clip's first sample, and before its video is encoded."""
        return self.sample_rnn.initial_carry(batch)

    def encode(
        self,
        carry: Carry,
        features: Float[Array, "batch video_frames feature_dim"],
        seen: Bool[Array, "batch video_frames"],
    ) -> Carry:
        """Let the encoder of Seq and Flow read video frames; other variants return the carry."""
        if not self.config.model.encodes_video:
            return carry
        vision = self.conditioning(features.astype(jnp.float32))
        return carry._replace(big_frame=self.encoder(carry.big_frame, vision, seen))

    def visual_gates(
        self, features: Float[Array, "batch video_frames feature_dim"]
    ) -> Float[Array, "batch video_frames gates"] | None:
        """Return what each video frame adds to the coarsest tier's gates; None but for Frame."""
        if self.config.model.variant != "frame":
            return None
        vision = self.conditioning(features.astype(jnp.float32))
        return self.sample_rnn.visual_gates(vision)

    def __call__(
        self,
        carry: Carry,
        levels: Int[Array, "#batch samples"],
        features: Float[Array, "batch video_frames feature_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Return the logits of a chunk under teacher forcing.

        One row of levels, here and in the carry, is the same sound under each row's video: what
        depends on the sound alone is then computed once.

        `features` are those of the video frames that the chunk's samples lie in: one that the
        chunk is part of, or all that it covers. Only Frame reads them here.
        """
        ticks = _ticks(self.config, levels.shape[1])
        gates = self.visual_gates(features)
        if gates is not None:
            if ticks % gates.shape[1]:
                raise InputError(
                    f"{gates.shape[1]} video frames for a chunk of {levels.shape[1]} samples: give "
                    "the one that it is part of, or all that it covers"
                )
            gates = jnp.repeat(gates, ticks // gates.shape[1], axis=1)
        return self.sample_rnn(carry, levels, gates)

    def init_all(
        self,
        levels: Int[Array, "batch samples"],
        features: Float[Array, "batch video_frames feature_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Use every parameter once, for `init_params`."""
        carry = self.initial_carry(levels.shape[0])
        carry = self.encode(carry, features, jnp.ones(features.shape[:2], bool))
        return self(carry, levels, features)


def _ticks(config: Config, samples: int) -> int:
    """Return the coarsest tier's ticks in a chunk; raise InputError unless it is whole ones."""
    size = config.model.big_frame_size
    if samples < size or samples % size:
        below = samples - samples % size
        raise InputError(
            f"a chunk of {samples} samples is not in whole big frames of {size}: use "
            f"{f'{below} or ' if below else ''}{below + size} samples"
        )
    return samples // size


# The model with its parameters as an argument; Flax's `apply` by another name, and typed.


def _apply(model: VideoToSound) -> Callable[..., Any]:
    return model.apply


def init_params(model: VideoToSound, key: Key[Array, ""]) -> dict[str, Any]:
    """Return parameters drawn with `key`."""
    levels = jnp.zeros((1, model.config.model.big_frame_size), jnp.int32)
    features = jnp.zeros((1, 1, model.config.model.feature_dim), jnp.float32)
    return dict(model.init(key, levels, features, method="init_all"))


def initial_carry(model: VideoToSound, params: dict[str, Any], batch: int) -> Carry:
    """Return the carry before a clip's first sample, and before its video is encoded."""
    return _apply(model)(params, batch, method="initial_carry")


def encode(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    features: Float[Array, "batch video_frames feature_dim"],
    seen: Bool[Array, "batch video_frames"],
) -> Carry:
    """Let the encoder of Seq and Flow read the next video frames of the clips, all in order.

    Frames that are not `seen` are padding. The first sample follows when all have been read; for
    the other variants the carry stays as it is.
    """
    return _apply(model)(params, carry, features, seen, method="encode")


def visual_gates(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[Array, "batch video_frames feature_dim"],
) -> Float[Array, "batch video_frames gates"] | None:
    """Return what each video frame adds to the coarsest tier's gates; None but for Frame."""
    return _apply(model)(params, features, method="visual_gates")


def forward(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: Int[Array, "#batch samples"],
    features: Float[Array, "batch video_frames feature_dim"],
) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
    """Return the carry after a chunk and its logits under teacher forcing."""
    return _apply(model)(params, carry, levels, features)
