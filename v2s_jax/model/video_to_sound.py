"""Visual to Sound: features of the video frames condition a three-tier SampleRNN.

Features and levels of a chunk come in, logits go out; the carry links chunk to chunk. Chunked
teacher forcing equals one pass over the whole clip, and generation runs the same tiers one tick
at a time (`v2s_jax.generate`).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from v2s_jax.config import Config
from v2s_jax.model.conditioning import FrameConditioning
from v2s_jax.model.sample_rnn import Carry, SampleRNN


class VideoToSound(nn.Module):
    """The whole model.

    `precision` is that of every matrix product: "highest" is float32 arithmetic on every device,
    "default" lets a TPU use bfloat16 passes and a recent NVIDIA GPU TF32.
    """

    config: Config
    precision: str = "default"

    def setup(self) -> None:
        model = self.config.model
        self.sees = model.variant == "frame"
        if self.sees:
            self.conditioning = FrameConditioning(model, self.precision)
        vision_dim = self.conditioning.vision_dim if self.sees else 0
        self.sample_rnn = SampleRNN(model, vision_dim, self.precision)

    def initial_carry(self, batch: int) -> Carry:
        """Return the carry before a clip's first sample."""
        return self.sample_rnn.initial_carry(batch)

    def vision_gates(
        self, appearance: Float[Array, "batch video_frames appearance_dim"]
    ) -> Float[Array, "batch video_frames gates"] | None:
        """Return what the video adds to the coarsest tier's gates, once per video frame."""
        if not self.sees:
            return None
        vision = self.conditioning(appearance.astype(jnp.float32))
        return self.sample_rnn.vision_gates(vision)

    def __call__(
        self,
        carry: Carry,
        levels: Int[Array, "batch samples"],
        appearance: Float[Array, "batch video_frames appearance_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Return the logits of a chunk under teacher forcing.

        `appearance` holds the video frames that the chunk's samples lie in: one that the chunk is
        part of, or all that it covers.
        """
        gates = self.vision_gates(appearance)
        if gates is not None:
            ticks = levels.shape[1] // self.config.model.big_frame_size
            gates = jnp.repeat(gates, ticks // gates.shape[1], axis=1)
        return self.sample_rnn(carry, levels, gates)

    def touch_everything(
        self,
        levels: Int[Array, "batch samples"],
        appearance: Float[Array, "batch video_frames appearance_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Use every parameter once, for `init_params`."""
        return self(self.initial_carry(levels.shape[0]), levels, appearance)


# The model with its parameters as an argument; Flax's `apply` by another name, and typed.


def _apply(model: VideoToSound) -> Callable[..., Any]:
    return model.apply


def init_params(model: VideoToSound, key: Key[Array, ""]) -> dict[str, Any]:
    """Return parameters drawn with `key`."""
    levels = jnp.zeros((1, model.config.model.big_frame_size), jnp.int32)
    appearance = jnp.zeros((1, 1, model.config.model.appearance_dim), jnp.float32)
    return dict(model.init(key, levels, appearance, method="touch_everything"))


def initial_carry(model: VideoToSound, params: dict[str, Any], batch: int) -> Carry:
    """Return the carry before a clip's first sample."""
    return _apply(model)(params, batch, method="initial_carry")


def vision_gates(
    model: VideoToSound,
    params: dict[str, Any],
    appearance: Float[Array, "batch video_frames appearance_dim"],
) -> Float[Array, "batch video_frames gates"] | None:
    """Return what the video adds to the coarsest tier's gates, once per video frame."""
    return _apply(model)(params, appearance, method="vision_gates")


def forward(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: Int[Array, "batch samples"],
    appearance: Float[Array, "batch video_frames appearance_dim"],
) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
    """Return the carry after a chunk and its logits under teacher forcing."""
    return _apply(model)(params, carry, levels, appearance)
