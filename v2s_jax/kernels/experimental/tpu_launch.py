"""The launch of the TPU kernel: its grid, its blocks, and the bytes of VMEM that they take.

The grid is (groups of rows, big frames). Blocks of weights are the same at every step: they are
copied to VMEM once and have one buffer. The states of a group stay in VMEM over its big frames,
because their block index does not change. Inputs and outputs of a big frame have two buffers, of
which one is copied while the kernel works on the other.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from v2s_jax.errors import InputError
from v2s_jax.kernels.experimental.tpu_tiers import (
    BigFrame,
    DrawRule,
    TierWeights,
    init_pending,
    run_big_frame,
)
from v2s_jax.kernels.frame_kernel import Drawing
from v2s_jax.kernels.interface import OutputLevel

LANES = 128
SUBLANES = 8
FLOAT_BYTES = 4
MIB = 2**20
BUFFERS = 2
"""Buffers of a block that changes from step to step."""
SMALLER = {"float32": "--weights bfloat16, ", "bfloat16": "--weights int8, ", "int8": ""}
"""What to try when the weights do not fit."""
RESERVED_SHARE = 1 / 16
"""Share of VMEM left to the compiler for values between two products."""


class LaunchConfig(NamedTuple):
    """The static arguments of the kernel."""

    group: int
    """Rows computed together, in whole sublanes."""
    q_levels: int
    precision: str
    vmem_bytes: int
    """Of one core."""
    interpret: bool


class States(NamedTuple):
    """The state between two big frames: arrays, their specs, or refs."""

    big_frame: Any  # [rows dim]
    frame: Any  # [rows dim]
    lookback: Any  # [rows big_frame_size]


def launch(
    weights: TierWeights,
    states: States,
    gates: Float[Array, "vectors rows gates"],
    noise_or_levels: Float[Array, "big_frames rows big_frame_size"]
    | Int[Array, "big_frames rows big_frame_size"],
    ticks_and_offset: Int[Array, "2"],
    temperature: Float[Array, ""],
    config: LaunchConfig,
    keep: OutputLevel,
) -> tuple[States, Drawing]:
    """Run the tiers over the first `ticks` big frames; the outputs after them are not written.

    Arrays are padded to whole lanes and groups of rows. Integers in `noise_or_levels` are the
    levels to use.
    """
    forced = jnp.issubdtype(noise_or_levels.dtype, jnp.integer)
    big_frames, rows, size = noise_or_levels.shape
    group = config.group
    vectors, _, gates_width = gates.shape

    def at_sample(g: Any, t: Any, scalars: Any) -> tuple[Any, ...]:
        place = t if forced else t + scalars[1]
        return jnp.minimum(place, big_frames - 1), g, 0

    def at_gates(g: Any, t: Any, scalars: Any) -> tuple[Any, ...]:
        # Both are positive. `//` also handles signs, and cannot be lowered without a TPU.
        place = jax.lax.div(t + scalars[1], jnp.int32(big_frames // vectors))
        return jnp.minimum(place, vectors - 1), g, 0

    resident = States(*(pl.BlockSpec((group, x.shape[1]), lambda g, t, _: (g, 0)) for x in states))
    by_sample = pl.BlockSpec((None, group, size), lambda g, t, _: (t, g, 0))
    width = weights.output_bias.shape[1]
    by_logit = pl.BlockSpec((None, size, group, width), lambda g, t, _: (t, 0, g, 0))
    shapes = Drawing(
        jax.ShapeDtypeStruct(noise_or_levels.shape, jnp.int32),
        jax.ShapeDtypeStruct(noise_or_levels.shape, jnp.float32),
        jax.ShapeDtypeStruct((big_frames, size, rows, width), jnp.float32),
    )
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1,
        grid=(rows // group, big_frames),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            jax.tree.map(_resident, weights),
            resident,
            pl.BlockSpec((None, group, gates_width), at_gates),
            pl.BlockSpec((None, group, size), at_sample),
        ],
        out_specs=[resident, Drawing(by_sample, by_sample, by_logit).select(keep)],
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in _scratch(weights, group)],
    )
    call = pl.pallas_call(
        partial(_kernel, config),
        grid_spec=grid,
        out_shape=[
            States(*(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in states)),
            shapes.select(keep),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=config.vmem_bytes
        ),
        interpret=config.interpret,
        name="v2s_fused_tiers",
    )
    return call(ticks_and_offset, temperature[None], weights, states, gates, noise_or_levels)


def _kernel(
    config: LaunchConfig,
    ticks_and_offset: Any,
    temperature: Any,
    weights: TierWeights,
    before: States,
    gates: Any,
    noise_or_levels: Any,
    state: States,
    drawing: Drawing,
    *scratch: Any,
) -> None:
    """Run one step of the grid: one big frame of one group of rows."""
    refs = BigFrame(gates, noise_or_levels, *state, *drawing, *scratch)
    tick = pl.program_id(1)

    @pl.when(tick == 0)
    def _() -> None:
        for ref, first in zip(state, before, strict=True):
            ref[...] = first[...]
        init_pending(weights, refs)

    @pl.when(tick < ticks_and_offset[0])
    def _() -> None:
        rule = DrawRule(temperature[0], config.q_levels, config.precision)
        run_big_frame(weights, refs, rule)


def _resident(x: Array) -> pl.BlockSpec:
    """Return the spec of an array that stays in VMEM as a whole."""
    zeros = (0,) * x.ndim
    return pl.BlockSpec(x.shape, lambda g, t, _: zeros, pipeline_mode=pl.Buffered(1))


def _scratch(weights: TierWeights, group: int) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the scratch arrays in VMEM, in the order of `BigFrame`."""
    ratio, _, dim = weights.big_up_bias.shape
    frame_size, _, mlp_dim = weights.frame_up_bias.shape
    return (
        (ratio * group, dim),
        (ratio * group, weights.frame_conditioning_bias.shape[1]),
        (frame_size, group, mlp_dim),
    )


def check_vmem(weights: TierWeights, big_frame_size: int, config: LaunchConfig) -> None:
    """Raise InputError where weights, blocks and sums do not fit VMEM; only shapes are read."""
    group = config.group
    dim, gates = weights.big_candidate_bias.shape[1], weights.frame_conditioning_bias.shape[1]
    row: tuple[int, ...] = (group, big_frame_size)
    states = [(group, dim), (group, dim), row]
    changing = [(group, gates), row, *states, *states, row, row]
    needed = (
        sum(_bytes_in_tiles(x.shape, x.dtype.itemsize) for x in jax.tree.leaves(weights))
        + BUFFERS * sum(map(_bytes_in_tiles, changing))
        + sum(map(_bytes_in_tiles, _scratch(weights, group)))
    )
    available = int(config.vmem_bytes * (1 - RESERVED_SHARE))
    if needed > available:
        fewer = "" if group == SUBLANES else f"--batch-size {SUBLANES}, "
        smaller = SMALLER[jax.tree.leaves(weights.hidden)[0].dtype.name]
        raise InputError(
            f"--engine fused: weights and buffers of this model for {group} rows take "
            f"{needed / MIB:.1f} MiB of VMEM, a core has {available / MIB:.1f} MiB for them: use "
            f"{fewer}{smaller}or --engine scan"
        )


def _bytes_in_tiles(shape: Sequence[int], itemsize: int = FLOAT_BYTES) -> int:
    """Return the bytes of an array whose last two axes fill whole tiles of 4 KiB."""
    *leading, rows, lanes = shape
    sublanes = SUBLANES * FLOAT_BYTES // itemsize
    tiles = -(-rows // sublanes) * -(-lanes // LANES)
    return math.prod(leading) * tiles * SUBLANES * LANES * FLOAT_BYTES
