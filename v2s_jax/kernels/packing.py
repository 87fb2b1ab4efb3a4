"""Weights of the seven matrix products of sampling, in the layout of the kernels.

Sizes are padded with zeros to whole groups of columns; int8 weights are

    W[:, n] = scale[n] * q[:, n],   q in -127..127,   scale[n] = max |W[:, n]| / 127.

Every engine rounds with `quantize_int8`, so all of them run the same int8 model.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int8, Shaped

from v2s_jax.config import THREE_TIERS, ModelConfig
from v2s_jax.errors import InputError

WeightFormat = Literal["float32", "bfloat16", "int8"]
"""How the weights of the large products are stored; small arrays stay float32."""

WEIGHT_BYTES: dict[WeightFormat, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
INT8_MAX = 127
GATES = 3
"""Of a GRU, the only cell that the kernels run."""
COLUMN_GROUP = 64
"""Columns of a packed group (lanes.h, kGroup)."""
LANES = 16
"""Columns that lie together in a packed group, whatever the width of the processor's vectors."""
LANE_BYTES = 4
MASKED_LOGIT = -1e30
"""Bias of a padded level, which is never drawn."""


def quantize_int8(
    kernel: Float[Array, "inputs outputs"],
) -> tuple[Int8[Array, "inputs outputs"], Float[Array, " outputs"]]:
    """Return the integers of a kernel and the scale of each output; a zero column has scale 1."""
    peak = jnp.max(jnp.abs(kernel), axis=0)
    scale = jnp.where(peak > 0, peak, INT8_MAX) / INT8_MAX
    return jnp.round(kernel / scale[None]).astype(jnp.int8), scale


def has_seven_products(config: ModelConfig) -> bool:
    """Say whether sampling has the products of three tiers of one GRU layer."""
    return (config.tiers, config.cell, config.rnn_layers) == (THREE_TIERS, "gru", 1)


def check_model(config: ModelConfig, engine: str, any_tiers: bool = False) -> None:
    """Raise InputError for a model that has other products than the seven.

    Some kernels run the MLP alone, below any tiers.
    """
    c = config
    if not (any_tiers or has_seven_products(c)):
        raise InputError(
            f"--engine {engine}: runs 3 tiers of 1 GRU layer, this model has {c.tiers} of "
            f"{c.rnn_layers} {c.cell.upper()}: use --engine scan"
        )
    if c.mlp != "paper":
        raise InputError(
            f"--engine {engine}: runs the MLP paper, this model has {c.mlp}: use --engine scan"
        )


class MatmulWeights(NamedTuple):
    """One product: kernel, bias, and how many parts its outputs have (gates, ticks)."""

    kernel: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]
    parts: int = 1


class TierMatmulWeights(NamedTuple):
    """The seven products of three tiers of one GRU layer, slowest first."""

    big_recurrent: MatmulWeights
    big_up: MatmulWeights
    """Its bias includes that of the frame tier's expansion."""
    frame_conditioning: MatmulWeights
    frame_recurrent: MatmulWeights
    frame_up: MatmulWeights
    hidden: MatmulWeights
    output: MatmulWeights


def matmul_weights(config: ModelConfig, params: dict[str, Any]) -> TierMatmulWeights:
    """Return the products of parameters without weight norm."""
    tiers = params["params"]["sample_rnn"]
    big, frame, sample = (tiers[f"{name}_tier"] for name in ("big_frame", "frame", "sample"))
    no_bias = jnp.zeros(GATES * config.dim)
    return TierMatmulWeights(
        MatmulWeights(big["gru"]["recurrent_kernel"], no_bias, GATES),
        MatmulWeights(
            big["upsampling"]["kernel"],
            big["upsampling"]["bias"] + jnp.tile(frame["expand"]["bias"], config.ratio),
            config.ratio,
        ),
        MatmulWeights(frame["gru"]["input_kernel"], frame["gru"]["input_bias"], GATES),
        MatmulWeights(frame["gru"]["recurrent_kernel"], no_bias, GATES),
        MatmulWeights(
            frame["upsampling"]["kernel"], frame["upsampling"]["bias"], config.frame_size
        ),
        MatmulWeights(sample["hidden"]["kernel"], sample["hidden"]["bias"]),
        MatmulWeights(sample["output"]["kernel"], sample["output"]["bias"]),
    )


def round_up(size: int, group: int = COLUMN_GROUP) -> int:
    """Return the size rounded up to whole groups."""
    return -(-size // group) * group


def pad_parts(
    x: Float[Array, "*batch outputs"], parts: int, fill: float = 0.0, group: int = COLUMN_GROUP
) -> Float[Array, "*batch padded"]:
    """Pad each part of the last axis to whole groups."""
    width = x.shape[-1] // parts
    split = x.reshape(*x.shape[:-1], parts, width)
    edges = [(0, 0)] * (split.ndim - 1) + [(0, round_up(width, group) - width)]
    return jnp.pad(split, edges, constant_values=fill).reshape(*x.shape[:-1], -1)


class Packed(NamedTuple):
    """One product in the layout of lanes.h."""

    weights: Shaped[Array, "groups steps vectors lanes rows_per_lane"]
    scales: Float[Array, " padded_outputs"]
    totals: Int[Array, " padded_outputs"]
    """Sum of the integers of each column."""
    bias: Float[Array, " padded_outputs"]


def rows_per_lane(weights: WeightFormat) -> int:
    """Return how many rows of a kernel share one 32-bit lane."""
    return LANE_BYTES // WEIGHT_BYTES[weights]


def pack(product: MatmulWeights, weights: WeightFormat, fill_bias: float = 0.0) -> Packed:
    """Pad, round and lay out one product; `fill_bias` is the bias of padded columns."""
    kernel = pad_parts(product.kernel, product.parts)
    kernel = jnp.pad(kernel, ((0, round_up(kernel.shape[0]) - kernel.shape[0]), (0, 0)))
    if weights == "int8":
        values, scales = quantize_int8(kernel)
    else:
        values, scales = kernel.astype(weights), jnp.ones(kernel.shape[1])
    per = rows_per_lane(weights)
    blocks = values.reshape(-1, per, kernel.shape[1] // COLUMN_GROUP, COLUMN_GROUP // LANES, LANES)
    return Packed(
        blocks.transpose(2, 0, 3, 4, 1),
        scales,
        values.sum(axis=0, dtype=jnp.int32) if weights == "int8" else jnp.zeros_like(scales, int),
        pad_parts(product.bias, product.parts, fill_bias),
    )
