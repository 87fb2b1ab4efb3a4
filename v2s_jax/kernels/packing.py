"""The weights of the sampler's seven products, as the kernels read them.

Sizes are padded with zeros to whole groups of columns; int8 weights are

    W[:, n] = scale[n] * q[:, n],   q in -127..127,   scale[n] = max |W[:, n]| / 127.

`quantise` is the one rounding of every engine, so all of them run the same int8 model.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int8, Shaped

from v2s_jax.config import THREE_TIERS, ModelConfig
from v2s_jax.errors import InputError

WeightFormat = Literal["float32", "bfloat16", "int8"]
"""How the weights of the products lie in memory; what is small stays float32."""

WEIGHT_BYTES: dict[WeightFormat, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
INT8_MAX = 127
COLUMN_GROUP = 64
"""Columns of a packed group (lanes.h)."""
LANES = 16
LANE_BYTES = 4
MASKED_LOGIT = -1e30
"""Bias of a padded level: it is never drawn."""


def quantise(
    kernel: Float[Array, "inputs outputs"],
) -> tuple[Int8[Array, "inputs outputs"], Float[Array, " outputs"]]:
    """Return a kernel's integers and its scale for each output; a zero column has scale 1."""
    most = jnp.max(jnp.abs(kernel), axis=0)
    scale = jnp.where(most > 0, most, INT8_MAX) / INT8_MAX
    return jnp.round(kernel / scale).astype(jnp.int8), scale


def check_model(config: ModelConfig, engine: str) -> None:
    """Raise InputError for a model that has other products."""
    c = config
    if (c.tiers, c.cell, c.rnn_layers) != (THREE_TIERS, "gru", 1):
        raise InputError(
            f"--engine {engine}: runs 3 tiers of 1 GRU layer, this model has {c.tiers} of "
            f"{c.rnn_layers} {c.cell.upper()}: use --engine scan"
        )


class MatmulWeights(NamedTuple):
    """One product: kernel, bias, and the parts that its outputs fall into (gates, ticks)."""

    kernel: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]
    parts: int = 1


class TierMatmulWeights(NamedTuple):
    """The seven products of three tiers of one GRU layer, slowest first."""

    big_recurrent: MatmulWeights
    big_up: MatmulWeights
    """Its bias holds the frame tier's own too."""
    frame_conditioning: MatmulWeights
    frame_recurrent: MatmulWeights
    frame_up: MatmulWeights
    hidden: MatmulWeights
    output: MatmulWeights


def matmul_weights(config: ModelConfig, params: dict[str, Any]) -> TierMatmulWeights:
    """Take the products out of parameters without weight norm."""
    tiers = params["params"]["sample_rnn"]
    big, frame, sample = (tiers[f"{name}_tier"] for name in ("big_frame", "frame", "sample"))
    no_bias = jnp.zeros(3 * config.dim)
    return TierMatmulWeights(
        MatmulWeights(big["gru"]["recurrent_kernel"], no_bias, 3),
        MatmulWeights(
            big["upsampling"]["kernel"],
            big["upsampling"]["bias"] + jnp.tile(frame["expand"]["bias"], config.ratio),
            config.ratio,
        ),
        MatmulWeights(frame["gru"]["input_kernel"], frame["gru"]["input_bias"], 3),
        MatmulWeights(frame["gru"]["recurrent_kernel"], no_bias, 3),
        MatmulWeights(
            frame["upsampling"]["kernel"], frame["upsampling"]["bias"], config.frame_size
        ),
        MatmulWeights(sample["hidden"]["kernel"], sample["hidden"]["bias"]),
        MatmulWeights(sample["output"]["kernel"], sample["output"]["bias"]),
    )


def padded(size: int, group: int = COLUMN_GROUP) -> int:
    """Return the size in whole groups."""
    return -(-size // group) * group


def pad_parts(
    x: Float[Array, "*batch outputs"], parts: int, fill: float = 0.0, group: int = COLUMN_GROUP
) -> Float[Array, "*batch padded"]:
    """Pad each of the parts of the last axis to whole groups."""
    width = x.shape[-1] // parts
    split = x.reshape(*x.shape[:-1], parts, width)
    edges = [(0, 0)] * (split.ndim - 1) + [(0, padded(width, group) - width)]
    return jnp.pad(split, edges, constant_values=fill).reshape(*x.shape[:-1], -1)


class Packed(NamedTuple):
    """One product as lanes.h reads it."""

    weights: Shaped[Array, "groups steps vectors lanes rows_per_lane"]
    scales: Float[Array, " padded_outputs"]
    totals: Int[Array, " padded_outputs"]
    """Sum of each column's integers."""
    bias: Float[Array, " padded_outputs"]


def rows_per_lane(weights: WeightFormat) -> int:
    """Return how many rows of a kernel lie side by side in one 32-bit lane."""
    return LANE_BYTES // WEIGHT_BYTES[weights]


def pack(product: MatmulWeights, weights: WeightFormat, no_bias: float = 0.0) -> Packed:
    """Pad, round and lay out one product; `no_bias` is the bias of padded columns."""
    kernel = pad_parts(product.kernel, product.parts)
    kernel = jnp.pad(kernel, ((0, padded(kernel.shape[0]) - kernel.shape[0]), (0, 0)))
    if weights == "int8":
        values, scales = quantise(kernel)
    else:
        values, scales = kernel.astype(weights), jnp.ones(kernel.shape[1])
    per = rows_per_lane(weights)
    blocks = values.reshape(-1, per, kernel.shape[1] // COLUMN_GROUP, COLUMN_GROUP // LANES, LANES)
    return Packed(
        blocks.transpose(2, 0, 3, 4, 1),
        scales,
        values.sum(axis=0, dtype=jnp.int32) if weights == "int8" else jnp.zeros_like(scales, int),
        pad_parts(product.bias, product.parts, no_bias),
    )


class WeightReads(NamedTuple):
    """Bytes of the products' weights that each tick of a tier reads, once for all rows of a tile.

    Tables, small maps and vision, which is read once per video frame, are left out.
    """

    per_big_frame: int
    per_frame: int
    per_sample: int


def weight_reads(config: ModelConfig, weights: WeightFormat) -> WeightReads | None:
    """Return what generating reads; None for a model that is not three tiers of one GRU layer."""
    c, size = config, WEIGHT_BYTES[weights]
    if (c.tiers, c.cell, c.rnn_layers) != (THREE_TIERS, "gru", 1):
        return None
    return WeightReads(
        per_big_frame=size * c.dim * (3 * c.dim + c.ratio * c.dim + 3 * c.dim),
        per_frame=size * c.dim * (3 * c.dim + c.frame_size * c.mlp_dim),
        per_sample=size * c.mlp_dim * (c.mlp_dim + c.q_levels),
    )


def weight_bytes_per_sample(config: ModelConfig, weights: WeightFormat) -> float | None:
    """Return the bytes of `weight_reads` that one sample costs on average."""
    reads = weight_reads(config, weights)
    if reads is None:
        return None
    of_frames = reads.per_big_frame / config.big_frame_size + reads.per_frame / config.frame_size
    return of_frames + reads.per_sample
