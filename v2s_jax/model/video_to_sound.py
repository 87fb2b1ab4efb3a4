"""Visual to Sound: features of the video frames condition a SampleRNN.

Features and levels of a chunk come in, logits go out; the carry links chunk to chunk. Chunked
teacher forcing equals one pass over the whole clip, and sampling runs the same tiers one tick at a
time (`v2s_jax.sampling`). Seq and Flow `encode` the video before the first chunk; Frame and Aligned
read it chunk by chunk.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from v2s_jax.config import Config
from v2s_jax.model.conditioning import Encoder, VisualProjection
from v2s_jax.model.context import ContextEncoder
from v2s_jax.model.linear import LECUN_UNIFORM, Linear, fold_weight_norm
from v2s_jax.model.loudness import has_loudness
from v2s_jax.model.sample_rnn import Carry, SampleRNN


class VideoToSound(nn.Module):
    """The whole model.

    `precision` is that of every matrix product: "highest" is float32 arithmetic on every device,
    "default" lets a TPU use bfloat16 passes and a recent NVIDIA GPU TF32, "bfloat16" rounds the
    factors everywhere (`linear.matmul`).
    """

    config: Config
    precision: str = "default"

    def setup(self) -> None:
        model = self.config.model
        concatenated = 0
        if model.variant != "unconditional":
            self.conditioning = VisualProjection(model, self.precision)
            visual_dim = self.conditioning.visual_dim
            if model.encodes_video:
                self.encoder = Encoder(model, visual_dim, self.precision)
            elif model.variant == "aligned":
                self.context = ContextEncoder(model, visual_dim, self.precision)
                concatenated = model.context_dim
                if has_loudness(self.config):
                    self.loudness = Linear(
                        model.context_dim, 1, LECUN_UNIFORM, model.weight_norm, self.precision
                    )
            else:
                concatenated = visual_dim
        self.sample_rnn = SampleRNN(model, concatenated, self.precision)

    def initial_carry(self, batch: int) -> Carry:
        return self.sample_rnn.initial_carry(batch)

    def encode(
        self,
        carry: Carry,
        features: Float[Array, "batch video_frames feature_dim"],
        frame_mask: Bool[Array, "batch video_frames"],
    ) -> Carry:
        if not self.config.model.encodes_video:
            return carry
        visual_features = self.conditioning(features.astype(jnp.float32))
        state = self.encoder.layer(carry.big_frame, visual_features, frame_mask)
        return carry._replace(big_frame=state)

    def visual_gates(
        self, features: Float[Array, "batch window feature_dim"]
    ) -> Float[Array, "batch vectors gates"] | None:
        if not self.config.model.reads_along:
            return None
        return self.sample_rnn.big_frame_tier.visual_gates(self._visual_vectors(features))

    def predict_loudness(
        self, features: Float[Array, "batch window feature_dim"]
    ) -> Float[Array, "batch vectors"]:
        return self.loudness(self._visual_vectors(features))[..., 0]

    def _visual_vectors(
        self, features: Float[Array, "batch window feature_dim"]
    ) -> Float[Array, "batch vectors concatenated"]:
        visual_features = self.conditioning(features.astype(jnp.float32))
        if self.config.model.variant == "aligned":
            return self.context(visual_features)
        return visual_features

    def __call__(
        self,
        carry: Carry,
        levels: Int[Array, "#batch samples"],
        features: Float[Array, "batch window feature_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        ticks = _ticks(self.config, levels.shape[1])
        gates = self.visual_gates(features)
        if gates is not None:
            _check_video_frames(self.config, levels.shape[1], features.shape[1])
            ticks_per_vector = self.config.samples_per_vector // self.config.model.big_frame_size
            gates = jnp.repeat(gates, ticks_per_vector, axis=1)[:, :ticks]
        return self.sample_rnn.layer(carry, levels, gates)

    def init_all(
        self,
        levels: Int[Array, "batch samples"],
        features: Float[Array, "batch video_frames feature_dim"],
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Use every parameter once, for `init_params`."""
        carry = self.initial_carry(levels.shape[0])
        carry = self.encode(carry, features, jnp.ones(features.shape[:2], bool))
        window = jnp.repeat(features, self.config.model.window, axis=1)
        if has_loudness(self.config):
            self.predict_loudness(window)
        return self(carry, levels, window)

    def folded_products(self) -> tuple[Array, Array | None]:
        """Return the products of kernels with each other, for `prepare_for_inference`."""
        tiers = self.sample_rnn
        frame_kernel = tiers.frame_tier.frame_kernel() if tiers.has_frame_tier else None
        return tiers.sample_tier.tables(), frame_kernel


def _check_video_frames(config: Config, samples: int, window: int) -> None:
    """Raise ValueError unless a chunk matches its video frames: see `forward`."""
    video_frames = window + 1 - config.model.window
    if video_frames != config.clock.video_frames(samples):
        raise ValueError(
            f"{video_frames} video frames for a chunk of {samples} samples: give the one that it "
            "is part of, or all that it covers"
        )


def _ticks(config: Config, samples: int) -> int:
    """Return the coarsest tier's ticks in a chunk; raise ValueError for a partial big frame."""
    size = config.model.big_frame_size
    if samples < size or samples % size:
        below = samples - samples % size
        raise ValueError(
            f"a chunk of {samples} samples is not in whole big frames of {size}: use "
            f"{f'{below} or ' if below else ''}{below + size} samples"
        )
    return samples // size


# The methods of the model as functions of its parameters: Flax's `apply`, with types.


def _apply(model: VideoToSound) -> Callable[..., Any]:
    return model.apply


def init_params(model: VideoToSound, key: Key[Array, ""]) -> dict[str, Any]:
    """Draw initial parameters, float32, as Flax has them: under the key "params"."""
    levels = jnp.zeros((1, model.config.clock.samples_per_video_frame), jnp.int32)
    features = jnp.zeros((1, 1, model.config.model.feature_dim), jnp.float32)
    return dict(model.init(key, levels, features, method="init_all"))


def initial_carry(model: VideoToSound, params: dict[str, Any], batch: int) -> Carry:
    """Return the carry before the first sample of a clip, and before its video is encoded."""
    return _apply(model)(params, batch, method="initial_carry")


def encode(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    features: Float[Array, "batch video_frames feature_dim"],
    frame_mask: Bool[Array, "batch video_frames"],
) -> Carry:
    """Read the next video frames with the encoder of Seq and Flow.

    All video frames must be read, in order and in blocks of any size, before the first sample.

    Args:
        model: The model.
        params: Its parameters.
        carry: The carry so far.
        features: Features of the next video frames.
        frame_mask: False where a video frame is padding.

    Returns:
        The carry after these video frames; for the other variants `carry` itself.
    """
    return _apply(model)(params, carry, features, frame_mask, method="encode")


def visual_gates(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[Array, "batch window feature_dim"],
) -> Float[Array, "batch vectors gates"] | None:
    """Return what each video frame adds to the coarsest tier's gates; None for Seq and Flow.

    `features` are those of a window (`window_frames`): Aligned reads video frames around each one,
    and has `vectors_per_frame` of them.
    """
    return _apply(model)(params, features, method="visual_gates")


def predict_loudness(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[Array, "batch window feature_dim"],
) -> Float[Array, "batch vectors"]:
    """Return what the context vectors of Aligned say of the loudness (`model.loudness`)."""
    return _apply(model)(params, features, method="predict_loudness")


def forward(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: Int[Array, "#batch samples"],
    features: Float[Array, "batch window feature_dim"],
) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
    """Run a chunk under teacher forcing.

    Args:
        model: The model.
        params: Its parameters.
        carry: The carry after the samples before the chunk.
        levels: The levels of the chunk, in whole big frames. A single row, here and in the carry,
            is the same sound under the video of each row: its own products are computed once.
        features: Features of the one video frame that the chunk is part of, or of all that it
            covers, with the video frames around them that the model reads (`window_frames`). Only
            Frame and Aligned read them here. With several vectors per video frame, a chunk begins
            where a video frame does.

    Returns:
        The carry after the chunk, and the logits of each of its samples.

    Raises:
        ValueError: The chunk ends inside a big frame, or does not match the video frames.
    """
    return _apply(model)(params, carry, levels, features)


# For sampling, all that can be computed once per checkpoint is computed once.


def without_weight_norm(config: Config) -> Config:
    """Return the config of the model after `fold_weight_norm`."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weight_norm=False))


class InferenceParams(NamedTuple):
    """Parameters as sampling reads them."""

    params: dict[str, Any]
    """Without weight norm."""
    tables: Float[Array, "frame_size q_levels mlp_dim"]
    """Embedding x first kernel of the sample tier."""
    frame_kernel: Float[Array, "frame_size gates"] | None
    """Frame expansion x input kernel of the frame tier; None with two tiers."""


def prepare_for_inference(model: VideoToSound, params: dict[str, Any]) -> InferenceParams:
    """Fold weight norm and the products of kernels; `model` is the one without weight norm."""
    plain = {"params": fold_weight_norm(params["params"])}
    return InferenceParams(plain, *_apply(model)(plain, method="folded_products"))
