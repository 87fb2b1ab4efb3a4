"""The fused engine on TPU: one launch runs all three tiers over a whole block of big frames.

What is stored where:

    VMEM, whole launch      weights of all tiers, loaded once; states and sums of a group of rows
    VMEM, two big frames    noise and gates in, levels out, copied while the previous one runs
    HBM                     noise, gates and levels of the block

MiB of weights, and of all that the VMEM of a core must hold for groups of 8 (of 128) rows:

                 float32             bfloat16            int8
    demo     10.1  10.6 (17.4)     6.8   7.2 (14.0)     5.3   5.7 (12.5)
    paper    68.6  69.6 (85.1)    36.1  37.1 (52.6)    20.3  21.4 (36.8)

The cores of v5e and v6e have 128 MiB, those of v5p and v7x 64. The grid is (groups of rows, big
frames): the first may be split between the cores of a chip, the second is the loop in time. A
group's rows, 8 to 128 in whole sublanes, share each pass of the weights through the matrix unit.

The compiler of libtpu accepts the kernel for v5e, v5p and v6e; it has not run on a TPU yet.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float

from v2s_jax.errors import InputError
from v2s_jax.kernels.experimental.tpu_launch import (
    LANES,
    SUBLANES,
    LaunchConfig,
    States,
    check_vmem,
    launch,
)
from v2s_jax.kernels.experimental.tpu_tiers import TierWeights
from v2s_jax.kernels.frame_kernel import Drawing
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, OutputLevel
from v2s_jax.kernels.packing import (
    GATES,
    MASKED_LOGIT,
    WeightFormat,
    check_model,
    matmul_weights,
    pad_parts,
    quantize_int8,
    round_up,
)
from v2s_jax.model import Carry, InferenceParams, VideoToSound, init_params, prepare_for_inference
from v2s_jax.model.linear import ScaledKernel

MAX_ROWS = 128
"""Rows of a group: one side of the matrix unit (v6e: half a side)."""
FLOAT32_PARTS = 3
"""24 bits of a float32 number in 8 of a bfloat16 one."""
BFLOAT16_EXPONENT_BITS = 8
BFLOAT16_MANTISSA_BITS = 7


class TpuEngine:
    """The kernel, for one config and weight format.

    Raises InputError for a model that it cannot run, or that does not fit VMEM.
    """

    batch_invariant = False

    def __init__(
        self,
        model: VideoToSound,
        weights: WeightFormat,
        batch_size: int,
        vmem_bytes: int,
        *,
        interpret: bool = False,
    ) -> None:
        check_model(model.config.model, "fused")
        if model.precision == "high":
            raise InputError("--engine fused: cannot run precision high: use highest")
        self._config = model.config
        self._weights = weights
        c = model.config.model
        self._launch_config = LaunchConfig(
            group=min(round_up(batch_size, SUBLANES), MAX_ROWS),
            q_levels=c.q_levels,
            precision=model.precision,
            vmem_bytes=vmem_bytes,
            interpret=interpret,
        )

        def pack(key: Array) -> TierWeights:
            return self.pack(prepare_for_inference(model, init_params(model, key)))[0]

        shapes = jax.eval_shape(pack, jax.random.key(0))
        check_vmem(shapes, c.big_frame_size, self._launch_config)

    def pack(self, inference_params: InferenceParams) -> tuple[TierWeights, Float[Array, " gates"]]:
        """Pad the weights to whole lanes; the returned bias is added before the launch."""
        c = self._config.model
        tiers = inference_params.params["params"]["sample_rnn"]
        big, frame = tiers["big_frame_tier"]["gru"], tiers["frame_tier"]["gru"]
        assert inference_params.frame_kernel is not None
        of = matmul_weights(c, inference_params.params)
        more_levels = round_up(c.q_levels, LANES) - c.q_levels

        def columns(x: Array, parts: int = 1, fill: float = 0.0) -> Array:
            return pad_parts(x, parts, fill, LANES)

        def bias(x: Array, parts: int = 1, fill: float = 0.0) -> Array:
            return columns(x, parts, fill)[None]

        def by_tick(x: Array, ticks: int) -> Array:
            """Split the outputs by tick."""
            return jnp.moveaxis(x.reshape(x.shape[0], ticks, -1), 1, 0)

        def kernel(x: Array, parts: int = 1) -> Array | ScaledKernel:
            rows = jnp.pad(x, ((0, round_up(x.shape[0], LANES) - x.shape[0]), (0, 0)))
            whole = columns(rows, parts)
            if self._weights != "int8":
                return whole.astype(self._weights)
            values, scale = quantize_int8(whole)
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
            frame_input=columns(inference_params.frame_kernel, GATES),
            frame_recurrent=kernel(of.frame_recurrent.kernel, GATES),
            frame_candidate_bias=bias(frame["candidate_bias"]),
            frame_up=kernels(of.frame_up.kernel, c.frame_size),
            frame_up_bias=by_tick(bias(of.frame_up.bias, c.frame_size), c.frame_size),
            tables=split_bfloat16(
                jnp.pad(columns(inference_params.tables), ((0, 0), (0, more_levels), (0, 0)))
            ),
            hidden=kernel(of.hidden.kernel),
            hidden_bias=bias(of.hidden.bias),
            output=kernel(of.output.kernel),
            output_bias=bias(of.output.bias, fill=MASKED_LOGIT),
        )
        return weights, columns(big["input_bias"], GATES)

    def run_big_frames(
        self,
        weights: tuple[TierWeights, Float[Array, " gates"]],
        carry: Carry,
        inputs: BlockInputs,
        keep: OutputLevel,
    ) -> tuple[Carry, BlockOutputs]:
        """Launch the kernel over `inputs.ticks` big frames."""
        c = self._config.model
        tiers, big_bias = weights
        assert carry.frame is not None
        video_frames, batch_size, per_frame, size = inputs.noise.shape
        big_frames = video_frames * per_frame
        rows = round_up(batch_size, self._launch_config.group)

        def pad_rows(x: Array, axis: int) -> Array:
            edges = [(0, 0)] * x.ndim
            edges[axis] = (0, rows - batch_size)
            return jnp.pad(x, edges)

        def state(h: Array) -> Array:
            return pad_rows(pad_parts(h, 1, group=LANES), 0)

        gates = jnp.zeros((video_frames, batch_size, GATES * c.dim))
        gates = pad_parts(gates if inputs.gates is None else inputs.gates, GATES, group=LANES)
        if inputs.forced is None:
            by_sample = jnp.swapaxes(inputs.noise, 1, 2).reshape(big_frames, batch_size, size)
        else:
            by_sample = jnp.swapaxes(inputs.forced.reshape(big_frames, size, batch_size), 1, 2)
        after, drawing = launch(
            tiers,
            States(state(carry.big_frame), state(carry.frame), pad_rows(carry.levels, 0)),
            pad_rows(gates + big_bias[None, None], 1),
            pad_rows(by_sample, 1),
            jnp.stack([inputs.ticks, inputs.offset]),
            inputs.temperature,
            self._launch_config,
            keep,
        )
        carry = Carry(
            after.big_frame[:batch_size, : c.dim],
            after.frame[:batch_size, : c.dim],
            after.lookback[:batch_size],
        )
        return carry, _by_sample(drawing, inputs.ticks * size, batch_size, c.q_levels)


def split_bfloat16(
    tables: Float[Array, "frame_size q_levels mlp_dim"],
) -> BFloat16[Array, "frame_size parts q_levels mlp_dim"]:
    """Return the bfloat16 parts that sum to the tables, largest first."""
    parts, rest = [], tables
    for _ in range(FLOAT32_PARTS):
        # XLA may remove a conversion to bfloat16 and back, but not this.
        part = jax.lax.reduce_precision(rest, BFLOAT16_EXPONENT_BITS, BFLOAT16_MANTISSA_BITS)
        parts.append(part.astype(jnp.bfloat16))
        rest = rest - part
    return jnp.stack(parts, axis=1)


def _by_sample(drawing: Drawing, samples: Array, batch_size: int, q_levels: int) -> BlockOutputs:
    """Return the outputs by sample; those after the launched big frames are zero."""
    logits = drawing.logits
    if logits is not None:
        logits = jnp.swapaxes(logits, 1, 2)[..., :q_levels]

    def by_sample(x: Array) -> Array:
        x = jnp.swapaxes(x, 1, 2)[:, :, :batch_size]
        x = x.reshape(-1, *x.shape[2:])
        is_generated = jnp.arange(len(x)) < samples
        return jnp.where(is_generated.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros((), x.dtype))

    by_level = jax.tree.map(by_sample, drawing._replace(logits=logits))
    return BlockOutputs(by_level.levels.astype(jnp.uint8), by_level.nll, by_level.logits)
