"""The fused engine on TPU: one launch runs all three tiers over a whole block of big frames.

Where things lie:

    VMEM, for the launch    weights of all tiers, loaded once; states and sums of a group of rows
    VMEM, two big frames    noise and gates in, levels out, copied while the one before runs
    HBM                     noise, gates and levels of the block

MiB of weights, and with the rest of what a core's VMEM must hold for groups of 8 (of 128) rows:

                 float32             bfloat16            int8
    demo     10.1  10.6 (17.4)     6.8   7.2 (14.0)     5.3   5.7 (12.5)
    paper    68.6  69.6 (85.1)    36.1  37.1 (52.6)    20.3  21.4 (36.8)

The cores of v5e and v6e have 128 MiB, those of v5p and v7x 64. The grid is (groups of rows, big
frames): the first may be split between the cores of a chip, the second is the loop in time. A
group's rows, 8 to 128 in whole sublanes, share each pass of the weights through the matrix unit.

Libtpu's compiler builds the kernel for v5e, v5p and v6e; on a TPU it has not run yet.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float

from v2s_jax.errors import InputError
from v2s_jax.kernels.experimental.tpu_launch import (
    LANES,
    SUBLANES,
    Drawing,
    LaunchConfig,
    States,
    check_vmem,
    launch,
)
from v2s_jax.kernels.experimental.tpu_tiers import TierWeights
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, OutputLevel
from v2s_jax.kernels.packing import (
    MASKED_LOGIT,
    WeightFormat,
    check_model,
    matmul_weights,
    pad_parts,
    padded,
    quantise,
)
from v2s_jax.model import Carry, InferenceParams, VideoToSound, init_params, prepare_for_inference
from v2s_jax.model.linear import ScaledKernel

MAX_ROWS = 128
"""Rows of a group: one side of the matrix unit (v6e: half a side)."""
GATES = 3
FLOAT32_PARTS = 3
"""24 bits of a float32 number in 8 of a bfloat16 one."""
BFLOAT16_EXPONENT_BITS = 8
BFLOAT16_MANTISSA_BITS = 7


class TpuEngine:
    """The kernel, for one config and format of weights.

    Raises InputError for a model that it does not know, or that VMEM does not hold.
    """

    batch_invariant = False

    def __init__(
        self,
        model: VideoToSound,
        weights: WeightFormat,
        tile: int,
        vmem_bytes: int,
        *,
        interpret: bool = False,
    ) -> None:
        check_model(model.config.model, "fused")
        if model.precision == "high":
            raise InputError("--engine fused: does not know precision high: use highest")
        self._config = model.config
        self._weights = weights
        group = min(padded(tile, SUBLANES), MAX_ROWS)
        c = model.config.model
        clock = model.config.clock
        self._how = LaunchConfig(
            group,
            clock.samples_per_video_frame // c.big_frame_size,
            False,
            c.q_levels,
            model.precision,
            "nats",
            vmem_bytes,
            interpret,
        )
        check_vmem(self._shapes(model), c.big_frame_size, self._how)

    def _shapes(self, model: VideoToSound) -> TierWeights:
        """Return the packed weights' shapes, of no values."""

        def pack(key: Array) -> TierWeights:
            return self.pack(prepare_for_inference(model, init_params(model, key)))[0]

        return jax.eval_shape(pack, jax.random.key(0))

    def pack(self, folded: InferenceParams) -> tuple[TierWeights, Float[Array, " gates"]]:
        """Pad the weights to whole lanes; the bias beside them is added before the launch."""
        c = self._config.model
        tiers = folded.params["params"]["sample_rnn"]
        big, frame = tiers["big_frame_tier"]["gru"], tiers["frame_tier"]["gru"]
        assert folded.frame_kernel is not None
        of = matmul_weights(c, folded.params)
        more_levels = padded(c.q_levels, LANES) - c.q_levels

        def columns(x: Array, parts: int = 1, fill: float = 0.0) -> Array:
            return pad_parts(x, parts, fill, LANES)

        def bias(x: Array, parts: int = 1, fill: float = 0.0) -> Array:
            return columns(x, parts, fill)[None]

        def by_tick(x: Array, ticks: int) -> Array:
            """Take the outputs of each tick apart."""
            return jnp.moveaxis(x.reshape(x.shape[0], ticks, -1), 1, 0)

        def kernel(x: Array, parts: int = 1) -> Array | ScaledKernel:
            rows = jnp.pad(x, ((0, padded(x.shape[0], LANES) - x.shape[0]), (0, 0)))
            whole = columns(rows, parts)
            if self._weights != "int8":
                return whole.astype(self._weights)
            values, scale = quantise(whole)
            return ScaledKernel(values, scale[None])

        def kernels(x: Array, ticks: int) -> Array | ScaledKernel:
            return jax.tree.map(lambda part: by_tick(part, ticks), kernel(x, ticks))

        weights = TierWeights(
            big_input=columns(big["input_kernel"][: c.big_frame_size], GATES),
            big_recurrent=kernel(of.big_recurrent.kernel, GATES),
            big_candidate_bias=bias(big["candidate_bias"]),
            big_up=kernels(of.big_up.kernel, c.ratio),
            big_up_bias=by_tick(bias(of.big_up.bias, c.ratio), c.ratio),
            frame_conditioning=kernel(of.frame_conditioning.kernel, GATES),
            frame_conditioning_bias=bias(of.frame_conditioning.bias, GATES),
            frame_input=columns(folded.frame_kernel, GATES),
            frame_recurrent=kernel(of.frame_recurrent.kernel, GATES),
            frame_candidate_bias=bias(frame["candidate_bias"]),
            frame_up=kernels(of.frame_up.kernel, c.frame_size),
            frame_up_bias=by_tick(bias(of.frame_up.bias, c.frame_size), c.frame_size),
            tables=in_parts(jnp.pad(columns(folded.tables), ((0, 0), (0, more_levels), (0, 0)))),
            hidden=kernel(of.hidden.kernel),
            hidden_bias=bias(of.hidden.bias),
            output=kernel(of.output.kernel),
            output_bias=bias(of.output.bias, fill=MASKED_LOGIT),
        )
        return weights, columns(big["input_bias"], GATES)

    def big_frames(
        self,
        weights: tuple[TierWeights, Float[Array, " gates"]],
        carry: Carry,
        given: BlockInputs,
        keep: OutputLevel,
    ) -> tuple[Carry, BlockOutputs]:
        """Launch the kernel over `given.ticks` big frames."""
        c = self._config.model
        tiers, big_bias = weights
        assert carry.frame is not None
        video_frames, tile, per_frame, size = given.noise.shape
        big_frames = video_frames * per_frame
        rows = padded(tile, self._how.group)

        def pad_rows(x: Array, axis: int) -> Array:
            edges = [(0, 0)] * x.ndim
            edges[axis] = (0, rows - tile)
            return jnp.pad(x, edges)

        def state(h: Array) -> Array:
            return pad_rows(pad_parts(h, 1, group=LANES), 0)

        gates = jnp.zeros((video_frames, tile, GATES * c.dim))
        gates = pad_parts(gates if given.gates is None else given.gates, GATES, group=LANES)
        if given.forced is None:
            by_sample = jnp.swapaxes(given.noise, 1, 2).reshape(big_frames, tile, size)
        else:
            by_sample = jnp.swapaxes(given.forced.reshape(big_frames, size, tile), 1, 2)
        after, drawing = launch(
            tiers,
            States(state(carry.big_frame), state(carry.frame), pad_rows(carry.levels, 0)),
            pad_rows(gates + big_bias, 1),
            pad_rows(by_sample, 1),
            jnp.stack([given.ticks, given.offset]),
            given.temperature,
            self._how._replace(forced=given.forced is not None, keep=keep),
        )
        carry = Carry(
            after.big_frame[:tile, : c.dim], after.frame[:tile, : c.dim], after.lookback[:tile]
        )
        return carry, _in_order(drawing, given.ticks * size, tile, c.q_levels)


def in_parts(
    tables: Float[Array, "frame_size q_levels mlp_dim"],
) -> BFloat16[Array, "frame_size parts q_levels mlp_dim"]:
    """Return the parts of bfloat16 that sum to the tables, largest first."""
    parts, rest = [], tables
    for _ in range(FLOAT32_PARTS):
        # A conversion there and back may be simplified away, this may not.
        part = jax.lax.reduce_precision(rest, BFLOAT16_EXPONENT_BITS, BFLOAT16_MANTISSA_BITS)
        parts.append(part.astype(jnp.bfloat16))
        rest = rest - part
    return jnp.stack(parts, axis=1)


def _in_order(drawing: Drawing, samples: Array, tile: int, q_levels: int) -> BlockOutputs:
    """Return what was drawn sample by sample; what was not launched is zero."""
    levels, nats, logits = drawing

    def by_sample(x: Array) -> Array:
        x = jnp.swapaxes(x, 1, 2)[:, :, :tile]
        x = x.reshape(-1, *x.shape[2:])
        made = jnp.arange(len(x)) < samples
        return jnp.where(made.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros((), x.dtype))

    return BlockOutputs(
        by_sample(levels).astype(jnp.uint8),
        None if nats is None else by_sample(nats),
        None if logits is None else by_sample(jnp.swapaxes(logits, 1, 2))[..., :q_levels],
    )
