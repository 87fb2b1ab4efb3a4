"""SampleRNN: tiers at their own clock rates over one sequence of levels (Mehri et al. 2017).

Which samples each tier reads, for big frames of 4, frames of 2 and a chunk of 8 (samples 0..7;
the lookback holds -4..-1):

    tier             ticks read                    and help to predict
    big frame tier   -4..-1 | 0..3                 0..3 | 4..7
    frame tier       -2,-1 | 0,1 | 2,3 | 4,5       0,1 | 2,3 | 4,5 | 6,7
    sample tier      -2,-1 | -1,0 | ... | 5,6      0 | 1 | ... | 7

With two tiers there is no frame tier, and the sample tier's window is a whole big frame.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from v2s_jax.config import TWO_TIERS, ModelConfig
from v2s_jax.model.linear import along_last_axis, declare
from v2s_jax.model.rnn_stack import StepState, state_dim
from v2s_jax.model.tiers import BigFrameTier, FrameTier, SampleLevelMLP, look_up, tier_input
from v2s_jax.quantize import q_zero


class Carry(NamedTuple):
    """What the next chunk needs to know of the samples so far."""

    big_frame: Float[Array, "batch state"]
    frame: Float[Array, "batch state"] | None
    """None with two tiers."""
    levels: Int[Array, "batch lookback"]


class StepCarry(NamedTuple):
    """A carry between two ticks of sampling (`StepState`)."""

    big_frame: StepState
    frame: StepState | None
    """None with two tiers."""
    levels: Int[Array, "batch lookback"]

    def carry(self) -> Carry:
        """Return what the next chunk needs to know."""
        return Carry(self.big_frame.state, self.frame and self.frame.state, self.levels)


class FusedOutputKernels(NamedTuple):
    """[U, R] of each layer of the recurrent tiers (`rnn_stack`)."""

    big_frame: tuple[Any, ...]
    frame: tuple[Any, ...] | None
    """None with two tiers."""


class SampleRNN(nn.Module):
    """The tiers together. `visual_dim` is the width concatenated to the coarsest input."""

    config: ModelConfig
    visual_dim: int
    precision: str

    def setup(self) -> None:
        c = self.config
        self.big_frame_tier = BigFrameTier(c, self.visual_dim, self.precision)
        self.sample_tier = SampleLevelMLP(c, self.precision)
        self.has_frame_tier = c.tiers != TWO_TIERS
        if self.has_frame_tier:
            self.frame_tier = FrameTier(c, self.precision)
        if c.learn_h0:
            shape = (state_dim(c),)
            if not c.encodes_video:
                self.big_frame_h0 = declare(self, "big_frame_h0", nn.initializers.zeros, shape)
            if self.has_frame_tier:
                self.frame_h0 = declare(self, "frame_h0", nn.initializers.zeros, shape)

    def initial_carry(self, batch: int) -> Carry:
        """Return the carry before the first sample: learned or zero states, a lookback of silence.

        With an encoder the coarsest tier's state is zero: it is the state the encoder starts from.
        """
        c = self.config
        big_frame = jnp.zeros((batch, state_dim(c)), jnp.float32)
        frame = jnp.zeros_like(big_frame) if self.has_frame_tier else None
        if c.learn_h0:
            if not c.encodes_video:
                big_frame = big_frame + along_last_axis(self.big_frame_h0, big_frame)
            if frame is not None:
                frame = frame + along_last_axis(self.frame_h0, frame)
        silence = jnp.full((batch, c.lookback), q_zero(c.q_levels), jnp.int32)
        return Carry(big_frame, frame, silence)

    def layer(
        self,
        carry: Carry,
        levels: Int[Array, "#batch samples"],
        visual_gates: Float[Array, "batch ticks gates"] | None,
    ) -> tuple[Carry, Float[Array, "batch samples q_levels"]]:
        """Return the logits of every sample of a chunk under teacher forcing.

        `logits[:, t]` depends on the carry and on `levels[:, :t]` only.
        """
        c = self.config
        rows, samples = levels.shape
        known = jnp.concatenate([carry.levels, levels], axis=1)
        scaled = tier_input(known, c.q_levels)
        big_frames = scaled[:, :samples].reshape(rows, -1, c.big_frame_size)
        skip = c.lookback - c.frame_size

        big_frame, conditioning = self.big_frame_tier.layer(
            carry.big_frame, big_frames, visual_gates
        )
        frame = carry.frame
        if frame is not None:
            frames = scaled[:, skip : skip + samples].reshape(rows, -1, c.frame_size)
            frame, conditioning = self.frame_tier.layer(
                frame,
                frames,
                self.frame_tier.conditioning_gates(conditioning),
                self.frame_tier.frame_kernel(),
            )
        logits = self.sample_tier(self.sample_tier.expand(known[:, skip:-1]), conditioning)
        return Carry(big_frame, frame, known[:, samples:]), logits

    # The same tiers one tick at a time, for sampling.

    def fused_kernels(self) -> FusedOutputKernels:
        """Return the fused kernels; they stay valid as long as the parameters do."""

        def of_tier(tier: BigFrameTier | FrameTier) -> tuple[Any, ...]:
            return tier.rnn.fused_output_kernels(tier.upsampling.kernel)

        frame = of_tier(self.frame_tier) if self.has_frame_tier else None
        return FusedOutputKernels(of_tier(self.big_frame_tier), frame)

    def to_step_state(self, carry: Carry, fused_kernels: FusedOutputKernels) -> StepCarry:
        """Return a carry with the recurrent products that the first tick needs."""
        big_frame = self.big_frame_tier.rnn.to_step_state(carry.big_frame, fused_kernels.big_frame)
        frame = None
        if carry.frame is not None and fused_kernels.frame is not None:
            frame = self.frame_tier.rnn.to_step_state(carry.frame, fused_kernels.frame)
        return StepCarry(big_frame, frame, carry.levels)

    def step_big_frame_tier(
        self,
        step_state: StepState,
        lookback: Int[Array, "batch lookback"],
        visual_gates: Float[Array, "batch gates"] | None,
        fused_kernels: tuple[Any, ...],
    ) -> tuple[StepState, Float[Array, "batch ticks_below width"]]:
        """Advance the coarsest tier one tick; return its conditioning of the ticks below.

        That is the `conditioning_gates` of the frame ticks, or with two tiers of the samples the
        conditioning itself.
        """
        frame = tier_input(lookback, self.config.q_levels)
        step_state, conditioning = self.big_frame_tier.step(
            step_state, frame, visual_gates, fused_kernels
        )
        if self.has_frame_tier:
            conditioning = self.frame_tier.conditioning_gates(conditioning)
        return step_state, conditioning

    def step_frame_tier(
        self,
        step_state: StepState,
        window: Int[Array, "batch frame_size"],
        conditioning_gates: Float[Array, "batch gates"],
        frame_kernel: Float[Array, "frame_size gates"],
        fused_kernels: tuple[Any, ...],
    ) -> tuple[StepState, Float[Array, "batch frame_size mlp_dim"]]:
        """Advance the middle tier one tick; return its conditioning of the samples below."""
        frame = tier_input(window, self.config.q_levels)
        return self.frame_tier.step(
            step_state, frame, conditioning_gates, frame_kernel, fused_kernels
        )

    def sample_logits(
        self,
        tables: Float[Array, "frame_size q_levels mlp_dim"],
        window: Int[Array, "batch frame_size"],
        conditioning: Float[Array, "batch mlp_dim"],
    ) -> Float[Array, "batch q_levels"]:
        """Return the logits of the next sample, given the last `frame_size` levels."""
        return self.sample_tier(look_up(tables, window), conditioning)
