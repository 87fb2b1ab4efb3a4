"""The fused engine's kernel on GPU (Triton): one launch draws all the samples of a frame.

XLA runs the tiers above between launches, on the whole GPU. The sample-level MLP, whose samples
depend on each other, is one program per 16 rows (the minimum of a tensor core):

    registers       the first layer's activations, 16 rows wide mlp_dim; the sums of the logits
    shared memory   those activations and one tile of the second layer's kernel, 64 KiB each at most
    L2 and L1       all weights, read again for every sample

The outputs of the second layer are never stored as a whole: each tile of columns is added to the
logits at once, logits += relu(x W2[:, tile] + b) W3[tile, :].

A sample reads weights, tables aside, of 512 KiB in float32 and 256 in bfloat16 at the sizes of
`demo`, of 5 and 2.5 MiB at those of `paper`; one multiprocessor has 227 KiB of shared memory on an
H100, so they do not stay there. The shared memory of a cluster of 16 would hold those of `paper` in
bfloat16; Triton has no clusters, and whether they pay is not measured.

The kernel lowers for CUDA; it has not run on a GPU yet.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt
from jaxtyping import Array, Float, Int

from v2s_jax.errors import InputError
from v2s_jax.kernels.frame_kernel import Drawing
from v2s_jax.kernels.interface import OutputLevel
from v2s_jax.kernels.packing import MASKED_LOGIT, WEIGHT_BYTES, WeightFormat, check_model
from v2s_jax.model import InferenceParams, VideoToSound
from v2s_jax.model.linear import BFLOAT16

ROWS = 16
"""Rows of a program: the minimum of a Triton matrix product."""
TILE_BYTES = 64 * 2**10
"""Of the second layer's kernel in shared memory."""
MIN_COLUMNS = 16
KIB = 2**10
H100_SHARED_BYTES = 227 * KIB
"""Shared memory that one program may have, where the driver does not say."""
WARPS = 8
STAGES = 1
"""Tiles in flight: shared memory has no room for two."""


class SampleWeights(NamedTuple):
    """The sample-level MLP, widths padded to powers of two; arrays outside, refs inside."""

    tables: Any  # [frame_size * q_levels mlp_dim]
    hidden: Any  # [mlp_dim mlp_dim]
    hidden_bias: Any  # [mlp_dim]
    output: Any  # [mlp_dim q_levels]
    output_bias: Any  # [q_levels]


class GpuFrame:
    """The kernel, for one model and weight format.

    Raises InputError where shared memory is too small.
    """

    def __init__(
        self,
        model: VideoToSound,
        weights: WeightFormat,
        shared_bytes: int,
        *,
        interpret: bool = False,
    ) -> None:
        c = model.config.model
        check_model(c, "fused", any_tiers=True)
        self._q_levels = c.q_levels
        self._weights = weights
        self._precision = model.precision
        self._interpret = interpret
        if weights == "int8":
            raise InputError(
                "--engine fused: on gpu takes weights of float32 or bfloat16: use --weights "
                "bfloat16, or --engine scan"
            )
        itemsize = WEIGHT_BYTES[weights]
        width = _power_of_two(c.mlp_dim)
        self._columns = max(MIN_COLUMNS, min(width, TILE_BYTES // (width * itemsize)))
        needed = (ROWS + self._columns) * width * itemsize
        if needed > shared_bytes:
            raise InputError(
                f"--engine fused: an MLP of {c.mlp_dim} units takes {needed / KIB:.0f} KiB of "
                f"shared memory, this GPU has {shared_bytes / KIB:.0f}: use --engine scan"
            )

    def pack(self, inference_params: InferenceParams) -> SampleWeights:
        """Pad the MLP's weights to powers of two."""
        tier = inference_params.params["params"]["sample_rnn"]["sample_tier"]
        hidden, output = tier["hidden"], tier["output"]
        width, levels = map(_power_of_two, output["kernel"].shape)
        tables = _pad(inference_params.tables, inference_params.tables.shape[0], levels, width)
        return SampleWeights(
            tables.reshape(-1, width),
            _pad(hidden["kernel"], width, width).astype(self._weights),
            _pad(hidden["bias"], width),
            _pad(output["kernel"], width, levels).astype(self._weights),
            _pad(output["bias"], levels, fill=MASKED_LOGIT),
        )

    def __call__(
        self,
        weights: SampleWeights,
        window: Int[Array, "slots frame_size"],
        conditioning: Float[Array, "slots frame_size mlp_dim"],
        noise_or_levels: Float[Array, "slots frame_size"] | Int[Array, "slots frame_size"],
        temperature: Float[Array, ""],
        keep: OutputLevel,
    ) -> Drawing:
        """Draw the samples of one frame; integers in `noise_or_levels` are the levels to use."""
        batch_size, frame_size = window.shape
        rows = -(-batch_size // ROWS) * ROWS
        levels, width = weights.output_bias.shape[0], weights.hidden_bias.shape[0]
        by_sample = pl.BlockSpec((ROWS, frame_size), lambda group: (group, 0))
        by_width = pl.BlockSpec((ROWS, frame_size, width), lambda group: (group, 0, 0))
        by_logit = pl.BlockSpec((ROWS, frame_size, levels), lambda group: (group, 0, 0))
        shapes = Drawing(
            jax.ShapeDtypeStruct((rows, frame_size), jnp.int32),
            jax.ShapeDtypeStruct((rows, frame_size), jnp.float32),
            jax.ShapeDtypeStruct((rows, frame_size, levels), jnp.float32),
        )
        (padded,) = pl.pallas_call(
            partial(_draw, self._q_levels, self._columns, self._precision),
            grid=(rows // ROWS,),
            in_specs=[
                pl.BlockSpec((1,), lambda group: (0,)),
                SampleWeights(*map(_whole, weights)),
                by_sample,
                by_width,
                by_sample,
            ],
            out_specs=[Drawing(by_sample, by_sample, by_logit).select(keep)],
            out_shape=[shapes.select(keep)],
            compiler_params=plt.CompilerParams(num_warps=WARPS, num_stages=STAGES),
            interpret=self._interpret,
            name="v2s_fused_frame",
        )(
            temperature[None],
            weights,
            _pad(window, rows, frame_size),
            _pad(conditioning, rows, frame_size, width),
            _pad(noise_or_levels, rows, frame_size),
        )
        drawing = jax.tree.map(lambda x: x[:batch_size], padded)
        if keep == "logits":
            drawing = drawing._replace(logits=drawing.logits[..., : self._q_levels])
        return drawing


def _draw(
    q_levels: int,
    columns: int,
    precision: str,
    temperature: Any,
    weights: SampleWeights,
    window: Any,
    conditioning: Any,
    noise_or_levels: Any,
    drawing: Drawing,
) -> None:
    """Draw the samples of one frame of one group of rows.

    The window is a ring buffer: sample number i of a frame replaces the oldest level, at index i.
    """
    frame_size, levels = window.shape[1], weights.output_bias.shape[0]
    places = jax.lax.broadcasted_iota(jnp.int32, window.shape, 1)
    units = jax.lax.broadcasted_iota(jnp.int32, (1, weights.hidden_bias.shape[0]), 1)
    lanes = jax.lax.broadcasted_iota(jnp.int32, (ROWS, levels), 1)

    def sample(now: Int[Array, ""], ring: Int[Array, "rows frame_size"]) -> Array:
        def look_up(place: Array, total: Array) -> Array:
            slot = jax.lax.rem(now + place, jnp.int32(frame_size))
            level = jnp.sum(jnp.where(places == slot, ring, 0), axis=1)
            return total + weights.tables[(place * levels + level)[:, None], units]

        x = jnp.zeros((ROWS, units.shape[1]), jnp.float32)
        x = jax.lax.fori_loop(0, frame_size, look_up, x)
        x = jnp.maximum(x + conditioning[:, now, :], 0.0)
        logits = _mlp(weights, x, columns, precision)
        tempered = logits / temperature[0]
        peak = jnp.max(tempered, axis=1)
        masses = jnp.exp(tempered - peak[:, None])
        noise_or_level = noise_or_levels[:, now]
        if jnp.issubdtype(noise_or_level.dtype, jnp.integer):
            level = noise_or_level
        else:
            level = _level(masses, noise_or_level, q_levels)
        drawing.levels[:, now] = level
        if drawing.nll is not None:
            chosen = jnp.sum(jnp.where(lanes == level[:, None], tempered, 0.0), axis=1)
            drawing.nll[:, now] = jnp.log(jnp.sum(masses, axis=1)) + peak - chosen
        if drawing.logits is not None:
            drawing.logits[:, now, :] = logits
        return jnp.where(places == now, level[:, None], ring)

    jax.lax.fori_loop(0, frame_size, sample, window[...])


def _mlp(
    weights: SampleWeights, x: Float[Array, "rows mlp_dim"], columns: int, precision: str
) -> Float[Array, "rows q_levels"]:
    """Return the logits of the first layer's activations, one tile of hidden units at a time."""

    def tile(number: Int[Array, ""], logits: Array) -> Array:
        at = pl.ds(number * columns, columns)
        hidden = _product(x, weights.hidden[:, at], precision) + weights.hidden_bias[at][None]
        return logits + _product(jnp.maximum(hidden, 0.0), weights.output[at, :], precision)

    bias = jnp.broadcast_to(weights.output_bias[...][None], (ROWS, weights.output_bias.shape[0]))
    return jax.lax.fori_loop(0, x.shape[1] // columns, tile, bias)


def _product(
    x: Float[Array, "rows inputs"], kernel: Float[Array, "inputs outputs"], precision: str
) -> Float[Array, "rows outputs"]:
    """Return `linear.matmul` without its custom gradient, which Triton does not lower."""
    if kernel.dtype == jnp.bfloat16 or precision == BFLOAT16:
        rounded = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
        return jnp.matmul(*rounded, preferred_element_type=jnp.float32)
    return jnp.matmul(x, kernel, precision=precision)


def _level(
    masses: Float[Array, "rows q_levels"], uniform: Float[Array, " rows"], q_levels: int
) -> Int[Array, " rows"]:
    """Return the level at which the cumulative distribution passes `uniform`.

    The rule is `rng.inverse_cdf`. Triton has no slices, so the last sum is found as the largest.
    """
    cumulative = jnp.cumsum(masses, axis=1)
    target = uniform * jnp.max(cumulative, axis=1)
    below = jnp.sum((cumulative <= target[:, None]).astype(jnp.int32), axis=1)
    return jnp.minimum(below, q_levels - 1)


def _whole(x: Array) -> pl.BlockSpec:
    zeros = (0,) * x.ndim
    return pl.BlockSpec(x.shape, lambda group: zeros)


def _power_of_two(size: int) -> int:
    return max(MIN_COLUMNS, 1 << (size - 1).bit_length())


def _pad(x: Array, *shape: int, fill: float = 0.0) -> Array:
    edges = [(0, target - size) for target, size in zip(shape, x.shape, strict=True)]
    return jnp.pad(x, edges, constant_values=jnp.asarray(fill, x.dtype))
