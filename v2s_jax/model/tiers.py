"""The tiers of SampleRNN, each defined once for training, scoring and sampling.

    big frame tier   h = RNN(h, [frame; visual features])  a tick per big_frame_size samples
    frame tier       h = RNN(h, W frame + conditioning)    a tick per frame_size samples
    sample tier      logits = MLP(embeddings, conditioning) of the last frame_size samples

A tick reads the samples *before* the ones it helps to predict. Frames hold amplitudes scaled to
[-2, 2); only the sample tier reads embeddings. The link downward is `r` separate linear maps of
h, one for each tick of the tier below (Mehri et al. 2017, equations 4 to 8). With two tiers there
is no frame tier, and big frames condition samples.

The recurrent tiers have two methods: `layer` runs all ticks of a chunk, `step` runs one tick.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from v2s_jax.config import TWO_TIERS, ModelConfig
from v2s_jax.model.linear import (
    HE_UNIFORM,
    LECUN_UNIFORM,
    Linear,
    along_last_axis,
    declare,
    kernel_param,
    matmul,
)
from v2s_jax.model.rnn_stack import RNNStack, StepState

INPUT_SCALE = 2.0
"""Amplitudes enter the recurrent tiers in [-2, 2) (sampleRNN_ICLR2017, three_tier.py)."""


def tier_input(levels: Int[Array, "*shape"], q_levels: int) -> Float[Array, "*shape"]:
    """Scale levels to the recurrent tiers' input range [-2, 2); 128 of 256 gives 0."""
    half = q_levels / 2
    return INPUT_SCALE * ((levels.astype(jnp.float32) - q_levels // 2) / half)


def _split_per_child_tick(
    projected: Float[Array, "batch *ticks width"], ratio: int
) -> Float[Array, "batch ticks_below below_dim"]:
    """Split the output of each tick between its `ratio` ticks in the tier below."""
    return projected.reshape(len(projected), -1, projected.shape[-1] // ratio)


class BigFrameTier(nn.Module):
    """The coarsest tier: raw samples, and the visual features that are concatenated to them."""

    config: ModelConfig
    visual_dim: int
    precision: str

    def setup(self) -> None:
        c = self.config
        self.rnn = RNNStack(c.big_frame_size + self.visual_dim, c, self.precision)
        nn.share_scope(self, self.rnn)
        if c.tiers == TWO_TIERS:
            self.ratio, below = c.big_frame_size, c.mlp_dim
        else:
            self.ratio, below = c.ratio, c.dim
        self.upsampling = Linear(
            c.dim, self.ratio * below, HE_UNIFORM, c.weight_norm, self.precision
        )

    def visual_gates(
        self, visual_features: Float[Array, "batch video_frames visual_dim"]
    ) -> Float[Array, "batch video_frames gates"]:
        """Return the visual features' share of the input product, once per video frame.

        [frame; visual] W = frame W_top + visual W_bottom, so the wide product need not be
        repeated at each of the ticks that share a video frame.
        """
        kernel = self.rnn.input_kernel[self.config.big_frame_size :]
        return matmul(visual_features, kernel, self.precision)

    def layer(
        self,
        state: Float[Array, "batch state"],
        frames: Float[Array, "#batch ticks big_frame_size"],
        visual_gates: Float[Array, "batch ticks gates"] | None,
    ) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks_below below_dim"]]:
        """Run over all ticks; return the last state and the conditioning of the tier below."""
        state, hidden = self.rnn.layer(state, self._gates(frames, visual_gates))
        return state, _split_per_child_tick(self.upsampling(hidden), self.ratio)

    def step(
        self,
        step_state: StepState,
        frame: Float[Array, "batch big_frame_size"],
        visual_gates: Float[Array, "batch gates"] | None,
        fused_kernels: tuple[Any, ...],
    ) -> tuple[StepState, Float[Array, "batch ratio below_dim"]]:
        """Advance one tick."""
        gates = self._gates(frame, visual_gates)
        step_state, projected = self.rnn.step(step_state, gates, fused_kernels)
        return step_state, _split_per_child_tick(
            projected + along_last_axis(self.upsampling.bias, projected), self.ratio
        )

    def _gates(
        self,
        frames: Float[Array, "*ticks big_frame_size"],
        visual_gates: Float[Array, "*all_ticks gates"] | None,
    ) -> Float[Array, "*all_ticks gates"]:
        """Return the whole input product: the samples' share and the visual features'."""
        kernel = self.rnn.input_kernel[: self.config.big_frame_size]
        gates = matmul(frames, kernel, self.precision)
        gates = gates + along_last_axis(self.rnn.input_bias, gates)
        return gates if visual_gates is None else gates + visual_gates


class FrameTier(nn.Module):
    """The middle tier: its own frame, expanded, plus the conditioning from above."""

    config: ModelConfig
    precision: str

    def setup(self) -> None:
        c = self.config
        self.expand = Linear(c.frame_size, c.dim, HE_UNIFORM, c.weight_norm, self.precision)
        self.rnn = RNNStack(c.dim, c, self.precision)
        nn.share_scope(self, self.rnn)
        self.upsampling = Linear(
            c.dim, c.frame_size * c.mlp_dim, HE_UNIFORM, c.weight_norm, self.precision
        )

    def conditioning_gates(
        self, conditioning: Float[Array, "batch ticks dim"]
    ) -> Float[Array, "batch ticks gates"]:
        """Return the share of the input product that is known before the tick's own samples.

        (frame W + b + c) W_x = frame (W W_x) + (b + c) W_x: the second term of all ticks under
        one big frame is one matrix product, off the path from sample to sample.
        """
        return self.rnn.input_gates(conditioning + along_last_axis(self.expand.bias, conditioning))

    def frame_kernel(self) -> Float[Array, "frame_size gates"]:
        """Return W W_x, the map from the tick's own samples to its gates."""
        return matmul(self.expand.kernel, self.rnn.input_kernel, self.precision)

    def layer(
        self,
        state: Float[Array, "batch state"],
        frames: Float[Array, "#batch ticks frame_size"],
        conditioning_gates: Float[Array, "batch ticks gates"],
        frame_kernel: Float[Array, "frame_size gates"],
    ) -> tuple[Float[Array, "batch state"], Float[Array, "batch ticks_below mlp_dim"]]:
        """Run over all ticks; return the last state and the conditioning of the samples."""
        gates = self._gates(frames, conditioning_gates, frame_kernel)
        state, hidden = self.rnn.layer(state, gates)
        return state, _split_per_child_tick(self.upsampling(hidden), self.config.frame_size)

    def step(
        self,
        step_state: StepState,
        frame: Float[Array, "batch frame_size"],
        conditioning_gates: Float[Array, "batch gates"],
        frame_kernel: Float[Array, "frame_size gates"],
        fused_kernels: tuple[Any, ...],
    ) -> tuple[StepState, Float[Array, "batch frame_size mlp_dim"]]:
        """Advance one tick."""
        gates = self._gates(frame, conditioning_gates, frame_kernel)
        step_state, projected = self.rnn.step(step_state, gates, fused_kernels)
        conditioning = projected + along_last_axis(self.upsampling.bias, projected)
        return step_state, _split_per_child_tick(conditioning, self.config.frame_size)

    def _gates(
        self,
        frames: Float[Array, "*ticks frame_size"],
        conditioning_gates: Float[Array, "*all_ticks gates"],
        frame_kernel: Float[Array, "frame_size gates"],
    ) -> Float[Array, "*all_ticks gates"]:
        """Return the whole input product: the samples' share and `conditioning_gates`."""
        return matmul(frames, frame_kernel, self.precision) + conditioning_gates


class SampleLevelMLP(nn.Module):
    """The finest tier: embeddings of the last `frame_size` samples to logits of the next one.

    With e the sum of the window's embeddings times the first kernel, and c the conditioning:

        mlp="paper"      logits = W_out relu(W_1 relu(e + c))           Mehri et al. 2017, text
        mlp="original"   logits = W_out relu(W_2 relu(W_1 (e + c)))     their code, three_tier.py
    """

    config: ModelConfig
    precision: str

    def setup(self) -> None:
        c = self.config
        self.embedding = declare(
            self, "embedding", nn.initializers.normal(1.0), (c.q_levels, c.embedding_dim)
        )
        self.expand_kernel = kernel_param(
            self,
            "expand_kernel",
            (c.frame_size * c.embedding_dim, c.mlp_dim),
            HE_UNIFORM,
            c.weight_norm,
        )
        self.hidden = Linear(c.mlp_dim, c.mlp_dim, HE_UNIFORM, c.weight_norm, self.precision)
        if c.mlp == "original":
            self.hidden_2 = Linear(c.mlp_dim, c.mlp_dim, HE_UNIFORM, c.weight_norm, self.precision)
        self.output = Linear(c.mlp_dim, c.q_levels, LECUN_UNIFORM, c.weight_norm, self.precision)

    def tables(self) -> Float[Array, "frame_size q_levels mlp_dim"]:
        """Return embedding x first kernel as one table for each place in the window.

        The product is linear in the embeddings, so the share of a level is a row to look up.
        """
        c = self.config
        kernels = self.expand_kernel.reshape(c.frame_size, c.embedding_dim, c.mlp_dim)
        return jax.vmap(lambda kernel: matmul(self.embedding, kernel, self.precision))(kernels)

    def expand(
        self, levels: Int[Array, "batch samples_and_window"]
    ) -> Float[Array, "batch samples mlp_dim"]:
        """Return e for every window of `frame_size` levels.

        Each level is embedded once, then the windows slide over the embeddings.
        """
        frame_size = self.config.frame_size
        samples = levels.shape[1] - frame_size + 1
        embedded = self.embedding[levels]
        windows = jnp.concatenate(
            [embedded[:, place : place + samples] for place in range(frame_size)], axis=-1
        )
        return matmul(windows, self.expand_kernel, self.precision)

    def __call__(
        self,
        expanded: Float[Array, "*#batch mlp_dim"],
        conditioning: Float[Array, "*batch mlp_dim"],
    ) -> Float[Array, "*batch q_levels"]:
        """Return logits; `expanded` is e, from `expand` or from `look_up`."""
        x = expanded + conditioning
        if self.config.mlp == "original":
            return self.output(nn.relu(self.hidden_2(nn.relu(self.hidden(x)))))
        return self.output(nn.relu(self.hidden(nn.relu(x))))


def look_up(
    tables: Float[Array, "frame_size q_levels mlp_dim"], window: Int[Array, "batch frame_size"]
) -> Float[Array, "batch mlp_dim"]:
    """Sum the table rows of one window of levels, oldest sample first."""
    rows = [tables[place][window[:, place]] for place in range(tables.shape[0])]
    return sum(rows[1:], start=rows[0])
