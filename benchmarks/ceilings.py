"""Hardware ceilings: how fast the device reads weights and multiplies matrices at most.

Each ceiling is that of the fastest program available, on the same device and in the same run as
the rows that are compared with it: XLA's products, and on a CPU the inner loop of the `cpu` engine
where it is built. Other work on the machine lowers ceilings and rows alike.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from benchmarks.flop import FLOP_PER_MULTIPLY_ADD
from benchmarks.machine import usable_cores
from v2s_jax.config import ModelConfig, Precision
from v2s_jax.kernels.build import library_path
from v2s_jax.kernels.cpu import multiply_only, zero_kernel
from v2s_jax.kernels.packing import COLUMN_GROUP, WeightFormat, quantize_int8
from v2s_jax.kernels.weight_reads import WeightReads, weight_reads
from v2s_jax.model import ScaledKernel, matmul

MATRIX_SIDES = {"cpu": (1_024, 2_048), "gpu": (4_096, 8_192), "tpu": (4_096, 8_192)}
"""Square matrices, by platform, whose fastest product is the ceiling."""
TIMED_CALLS = 8
MEMORY_BYTES = 2**29
"""Working set for the memory ceiling: far more than caches hold."""
BYTES_PER_TIMING = 2**29
"""A smaller working set is read repeatedly until this many bytes: tens of ms on a CPU."""
MACS_PER_TIMING = 2 * 10**9
"""Multiply-adds of one timing of the cpu engine's loop."""
FLOAT32_BYTES = 4
PANEL_INPUTS = 64
READ_INPUTS = 256
PANEL_ROWS = 6
"""Rows of the cpu engine's loop; its weights, 64 x 64 for each core, stay in the L1 cache."""


@dataclass(frozen=True)
class ReadSpeed:
    """How fast a working set is read repeatedly."""

    working_set_bytes: int
    bytes_per_sec: float


@dataclass(frozen=True)
class ProductSpeed:
    """The fastest product of float32 activations with weights of one format."""

    weights: WeightFormat
    precision: Precision
    flop_per_sec: float
    """An int8 product counts once, however many digits it works on."""


@dataclass(frozen=True)
class Ceilings:
    """What the rows are compared with."""

    memory: ReadSpeed
    tiers: list[ReadSpeed]
    """One for each working set of a tier, for each weight format."""
    products: list[ProductSpeed]

    def read_bytes_per_sec(self, config: ModelConfig, reads: WeightReads) -> float:
        """Return how fast the weights of one sample can be read, tier by tier.

        The time is the sum over tiers of bytes per sample over the read speed of the tier's
        working set: everything that is read between two of its ticks competes for the caches.
        """
        speeds = {speed.working_set_bytes: speed.bytes_per_sec for speed in self.tiers}
        sizes = reads.by_tier(config)
        return sum(sizes) / sum(
            size / speeds[working_set]
            for size, working_set in zip(sizes, reads.working_sets, strict=True)
        )

    def flop_per_sec(self, weights: WeightFormat) -> float:
        """Return the ceiling for products."""
        return next(speed.flop_per_sec for speed in self.products if speed.weights == weights)


def measure_ceilings(
    config: ModelConfig, formats: tuple[WeightFormat, ...], precision: Precision
) -> Ceilings:
    """Measure the ceilings for a model in these weight formats."""
    all_reads = [reads for form in formats if (reads := weight_reads(config, form)) is not None]
    sizes = sorted({size for reads in all_reads for size in reads.working_sets})
    return Ceilings(
        memory=_read_speed(MEMORY_BYTES),
        tiers=[_read_speed(size) for size in sizes],
        products=[
            ProductSpeed(weights, precision, _product_speed(weights, precision))
            for weights in formats
        ],
    )


def peak_flop_per_sec(precision: str, weights: WeightFormat = "float32") -> float:
    """Measure the fastest square product of XLA, on one device, with one factor in `weights`."""
    sides = MATRIX_SIDES[jax.devices()[0].platform]
    return max(_flop_per_sec(side, precision, weights) for side in sides)


def _flop_per_sec(side: int, precision: str, weights: WeightFormat) -> float:
    x = jnp.ones((side, side), jnp.float32) / side
    factor = ScaledKernel(*quantize_int8(x)) if weights == "int8" else x.astype(weights)
    multiply = jax.jit(lambda x, factor: matmul(x, factor, precision))
    return FLOP_PER_MULTIPLY_ADD * side**3 / _min_seconds(multiply, x, factor)


def _min_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the time of the fastest of several calls of a compiled function, after a warm-up."""
    jax.block_until_ready(function(*arguments))
    fastest = float("inf")
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def _read_speed(working_set_bytes: int) -> ReadSpeed:
    repeats = max(1, BYTES_PER_TIMING // working_set_bytes)
    speeds = _xla_read_speeds(working_set_bytes, repeats)
    if _has_cpu_engine():
        groups = max(1, round(working_set_bytes / (READ_INPUTS * COLUMN_GROUP * FLOAT32_BYTES)))
        kernel = zero_kernel(READ_INPUTS, groups, "float32")
        read = jax.jit(partial(multiply_only, rows=1, turns=repeats, weights="float32"))
        size = kernel.weights.size * FLOAT32_BYTES
        speeds.append(size * repeats / _min_seconds(read, kernel))
    return ReadSpeed(working_set_bytes, max(speeds))


def _xla_read_speeds(working_set_bytes: int, repeats: int) -> list[float]:
    """Time matrix-vector products from the left and from the right."""
    values = max(1, working_set_bytes // FLOAT32_BYTES)
    columns = 2 ** round(math.log2(values) / 2)
    kernel = jnp.zeros((max(1, values // columns), columns))
    size = kernel.size * FLOAT32_BYTES

    def repeated(multiply: Callable[[Array, Array], Array]) -> Callable[..., Any]:
        def run(x: Float[Array, " inputs"], kernel: Array) -> Float[Array, " inputs"]:
            def step(_: Any, x: Array) -> Array:
                # Each product depends on the one before, so that XLA cannot drop any.
                return jnp.full_like(x, 1.0 + multiply(x, kernel)[0])

            return jax.lax.fori_loop(0, repeats, step, x)

        return jax.jit(run)

    rows, columns = kernel.shape
    return [
        size * repeats / _min_seconds(repeated(lambda x, k: x @ k), jnp.ones(rows), kernel),
        size * repeats / _min_seconds(repeated(lambda x, k: k @ x), jnp.ones(columns), kernel),
    ]


def _product_speed(weights: WeightFormat, precision: Precision) -> float:
    speed = peak_flop_per_sec(precision, weights)
    if not _has_cpu_engine():
        return speed
    is_bfloat16 = (precision, weights) == ("bfloat16", "float32")
    multiplied: WeightFormat = "bfloat16" if is_bfloat16 else weights
    kernel = zero_kernel(PANEL_INPUTS, usable_cores(), multiplied)
    macs = kernel.weights.size * PANEL_ROWS
    turns = max(1, MACS_PER_TIMING // macs)
    multiply = jax.jit(partial(multiply_only, rows=PANEL_ROWS, turns=turns, weights=multiplied))
    return max(speed, FLOP_PER_MULTIPLY_ADD * macs * turns / _min_seconds(multiply, kernel))


def _has_cpu_engine() -> bool:
    return jax.default_backend() == "cpu" and library_path().exists()
