"""The three tiers of SampleRNN, each defined once for training, scoring and generation.

    big frame tier   h = GRU(h, [frame; vision])           a tick per big_frame_size samples
    frame tier       h = GRU(h, W frame + conditioning)    a tick per frame_size samples
    sample tier      logits = MLP(embeddings, conditioning) of the last frame_size samples

A tick reads the samples *before* the ones it helps to predict. Frames hold amplitudes scaled to
[-2, 2); only the sample tier reads embeddings. The link downward is `r` separate linear maps of
the carry, one for each tick of the tier below (Mehri et al. 2017, equations 4 to 8).

The GRU is the standard one of cuDNN, PyTorch and Flax (reset after the recurrent product):

    r, z = sigmoid(x W_rz + h U_rz + b_rz)
    n    = tanh(x W_n + b_n + r * (h U_n + c_n))
    h'   = (1 - z) * n + z * h

The Theano original applies the reset before the product; docs/SPEC.md records the choice.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from v2s_jax.model.linear import HE, LECUN, ORTHOGONAL, Linear, kernel_param

INPUT_SCALE = 2.0
"""Amplitudes enter the recurrent tiers in [-2, 2) (sampleRNN_ICLR2017, three_tier.py)."""


def tier_input(levels: Int[Array, "*shape"], q_levels: int) -> Float[Array, "*shape"]:
    """Scale levels to the recurrent tiers' input range [-2, 2); 128 of 256 gives 0."""
    half = q_levels / 2
    return INPUT_SCALE * ((levels.astype(jnp.float32) - q_levels // 2) / half)


def _gate_orthogonal(gates: int) -> Initializer:
    """Initialise each gate's square block of a recurrent kernel orthogonally."""

    def init(
        key: Array, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> Array:
        blocks = [
            ORTHOGONAL(k, (shape[0], shape[1] // gates), dtype)
            for k in jax.random.split(key, gates)
        ]
        return jnp.concatenate(blocks, axis=1)

    return init


class GRU(nn.Module):
    """One gated recurrent layer; the product of its inputs is separate from its recurrence.

    The last axis of `gates` holds reset, update and candidate, each `dim` wide.
    """

    inputs: int
    dim: int
    weight_norm: bool
    precision: str

    GATES = 3

    def setup(self) -> None:
        width = self.GATES * self.dim
        self.input_kernel = kernel_param(
            self, "input_kernel", (self.inputs, width), LECUN, self.weight_norm
        )
        self.recurrent_kernel = kernel_param(
            self,
            "recurrent_kernel",
            (self.dim, width),
            _gate_orthogonal(self.GATES),
            self.weight_norm,
        )
        self.input_bias = self.param("input_bias", nn.initializers.zeros, (width,))
        self.candidate_bias = self.param("candidate_bias", nn.initializers.zeros, (self.dim,))

    def step(
        self, h: Float[Array, "batch dim"], gates: Float[Array, "batch gates"]
    ) -> Float[Array, "batch dim"]:
        """Advance one tick; `gates` is the input's product, bias included."""
        recurrent = jnp.matmul(h, self.recurrent_kernel, precision=self.precision)
        reset = nn.sigmoid(gates[:, : self.dim] + recurrent[:, : self.dim])
        update = nn.sigmoid(
            gates[:, self.dim : 2 * self.dim] + recurrent[:, self.dim : 2 * self.dim]
        )
        candidate = nn.tanh(
            gates[:, 2 * self.dim :] + reset * (recurrent[:, 2 * self.dim :] + self.candidate_bias)
        )
        return candidate + update * (h - candidate)

    def __call__(
        self, h: Float[Array, "batch dim"], gates: Float[Array, "batch ticks gates"]
    ) -> tuple[Float[Array, "batch dim"], Float[Array, "batch ticks dim"]]:
        """Advance over all ticks; return the last carry and the carry after each tick."""

        def tick(h: Array, gates_now: Array) -> tuple[Array, Array]:
            h = self.step(h, gates_now)
            return h, h

        h, after_ticks = jax.lax.scan(tick, h, jnp.swapaxes(gates, 0, 1))
        return h, jnp.swapaxes(after_ticks, 0, 1)


def _upsample(linear: Linear, h: Float[Array, "batch ticks dim"], ratio: int) -> Array:
    """Give each tick's `ratio` ticks below their own linear map of the carry."""
    batch, ticks, _ = h.shape
    return linear(h).reshape(batch, ticks * ratio, -1)


class BigFrameTier(nn.Module):
    """The coarsest tier: raw samples, and whatever vision is concatenated to them."""

    big_frame_size: int
    vision_dim: int
    ratio: int
    dim: int
    weight_norm: bool
    precision: str

    def setup(self) -> None:
        self.gru = GRU(
            self.big_frame_size + self.vision_dim, self.dim, self.weight_norm, self.precision
        )
        self.upsampling = Linear(
            self.dim, self.ratio * self.dim, HE, self.weight_norm, self.precision
        )

    def vision_gates(
        self, vision: Float[Array, "batch video_frames vision_dim"]
    ) -> Float[Array, "batch video_frames gates"]:
        """Return the concatenated vision's share of the input product, once per video frame.

        [frame; vision] W = frame W_top + vision W_bottom, so the wide product need not be
        repeated at each of the ticks that share a video frame.
        """
        kernel = self.gru.input_kernel[self.big_frame_size :]
        return jnp.matmul(vision, kernel, precision=self.precision)

    def __call__(
        self,
        h: Float[Array, "batch dim"],
        frames: Float[Array, "batch ticks big_frame_size"],
        vision_gates: Float[Array, "batch ticks gates"] | None,
    ) -> tuple[Float[Array, "batch dim"], Float[Array, "batch ticks_below dim"]]:
        kernel = self.gru.input_kernel[: self.big_frame_size]
        gates = jnp.matmul(frames, kernel, precision=self.precision) + self.gru.input_bias
        if vision_gates is not None:
            gates = gates + vision_gates
        h, after_ticks = self.gru(h, gates)
        return h, _upsample(self.upsampling, after_ticks, self.ratio)


class FrameTier(nn.Module):
    """The middle tier: its own frame, expanded, plus the conditioning from above."""

    frame_size: int
    dim: int
    out_dim: int
    weight_norm: bool
    precision: str

    def setup(self) -> None:
        self.expand = Linear(self.frame_size, self.dim, HE, self.weight_norm, self.precision)
        self.gru = GRU(self.dim, self.dim, self.weight_norm, self.precision)
        self.upsampling = Linear(
            self.dim, self.frame_size * self.out_dim, HE, self.weight_norm, self.precision
        )

    def conditioning_gates(
        self, conditioning: Float[Array, "batch ticks dim"]
    ) -> Float[Array, "batch ticks gates"]:
        """Return what is known of the input product before the tick's own samples are.

        (frame W + b + c) W_x = frame (W W_x) + (b + c) W_x: the second term of all ticks under
        one big frame is one matrix product, off the path from sample to sample.
        """
        return (
            jnp.matmul(
                conditioning + self.expand.bias, self.gru.input_kernel, precision=self.precision
            )
            + self.gru.input_bias
        )

    def frame_kernel(self) -> Float[Array, "frame_size gates"]:
        """Return W W_x, the map from the tick's own samples to its gates."""
        return jnp.matmul(self.expand.kernel, self.gru.input_kernel, precision=self.precision)

    def __call__(
        self,
        h: Float[Array, "batch dim"],
        frames: Float[Array, "batch ticks frame_size"],
        conditioning_gates: Float[Array, "batch ticks gates"],
        frame_kernel: Float[Array, "frame_size gates"],
    ) -> tuple[Float[Array, "batch dim"], Float[Array, "batch ticks_below out_dim"]]:
        gates = jnp.matmul(frames, frame_kernel, precision=self.precision) + conditioning_gates
        h, after_ticks = self.gru(h, gates)
        return h, _upsample(self.upsampling, after_ticks, self.frame_size)


class SampleLevelMLP(nn.Module):
    """The finest tier: embeddings of the last `frame_size` samples to logits of the next one."""

    frame_size: int
    q_levels: int
    embedding_dim: int
    mlp_dim: int
    weight_norm: bool
    precision: str

    def setup(self) -> None:
        self.embedding = self.param(
            "embedding", nn.initializers.normal(1.0), (self.q_levels, self.embedding_dim)
        )
        self.expand_kernel = kernel_param(
            self,
            "expand_kernel",
            (self.frame_size * self.embedding_dim, self.mlp_dim),
            HE,
            self.weight_norm,
        )
        self.hidden = Linear(self.mlp_dim, self.mlp_dim, HE, self.weight_norm, self.precision)
        self.output = Linear(self.mlp_dim, self.q_levels, LECUN, self.weight_norm, self.precision)

    def tables(self) -> Float[Array, "frame_size q_levels mlp_dim"]:
        """Return embedding x first layer as one table for each place in the window.

        The first layer is linear in the embeddings, so a level's share of it is a row to look up.
        """
        kernels = self.expand_kernel.reshape(self.frame_size, self.embedding_dim, self.mlp_dim)
        return jnp.einsum("qe,fed->fqd", self.embedding, kernels, precision=self.precision)

    def expand(
        self, levels: Int[Array, "batch samples_and_window"]
    ) -> Float[Array, "batch samples mlp_dim"]:
        """Return the first layer's product for every window of `frame_size` levels.

        Each level is embedded once, then the windows slide over the embeddings.
        """
        samples = levels.shape[1] - self.frame_size + 1
        embedded = self.embedding[levels]
        windows = jnp.concatenate(
            [embedded[:, place : place + samples] for place in range(self.frame_size)], axis=-1
        )
        return jnp.matmul(windows, self.expand_kernel, precision=self.precision)

    def __call__(
        self,
        expanded: Float[Array, "*batch mlp_dim"],
        conditioning: Float[Array, "*batch mlp_dim"],
    ) -> Float[Array, "*batch q_levels"]:
        """Return logits; `expanded` is the window's sum of table rows."""
        x = nn.relu(expanded + conditioning)
        return self.output(nn.relu(self.hidden(x)))


def look_up(
    tables: Float[Array, "frame_size q_levels mlp_dim"], window: Int[Array, "batch frame_size"]
) -> Float[Array, "batch mlp_dim"]:
    """Sum the table rows of one window of levels, oldest sample first."""
    rows = [tables[place][window[:, place]] for place in range(tables.shape[0])]
    return sum(rows[1:], start=rows[0])
