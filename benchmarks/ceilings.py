"""What the device can do at most: how fast it reads, from where, and how fast it multiplies.

Each figure is that of the fastest program at hand, on the same device in the same run as the rows
that are held against it: XLA's products and, on a CPU where it is built, the inner loop of the cpu
engine. Other work on the machine lowers them as it lowers the rows.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from benchmarks.arithmetic import (
    FLOP_PER_MULTIPLY_ADD,
    least_seconds,
    peak_flop_per_sec,
)
from benchmarks.machine import usable_cores
from v2s_jax.config import ModelConfig, Precision
from v2s_jax.kernels.build import library_path
from v2s_jax.kernels.cpu import multiply_only, zero_kernel
from v2s_jax.kernels.packing import COLUMN_GROUP, WeightFormat, WeightReads, weight_reads

MEMORY_BYTES = 2**29
"""What is read for the speed of memory: far more than caches hold."""
BYTES_PER_TIMING = 2**29
"""A smaller working set is read as often as makes up so much: tens of milliseconds on a CPU."""
MACS_PER_TIMING = 2 * 10**9
"""Multiplications and additions of one timing of the engine's loop."""
FLOAT32_BYTES = 4
PANEL_INPUTS = 64
READ_INPUTS = 256
PANEL_ROWS = 6
"""Rows of the engine's loop whose weights, 64 x 64 for each core, stay in the nearest cache."""


@dataclass(frozen=True)
class ReadSpeed:
    """How fast a working set is read over and over."""

    working_set_bytes: int
    bytes_per_sec: float


@dataclass(frozen=True)
class ProductSpeed:
    """The fastest product of float32 activations with weights of one format."""

    weights: WeightFormat
    precision: Precision
    flop_per_sec: float
    """Multiplications and additions of the product as such, whatever digits it is made of."""


@dataclass(frozen=True)
class Ceilings:
    """What rows are held against."""

    device_kind: str
    memory: ReadSpeed
    """Of far more than caches hold."""
    tiers: list[ReadSpeed]
    """Of the weights that lie between two ticks of each tier, for each model and format."""
    products: list[ProductSpeed]

    def read_bytes_per_sec(self, config: ModelConfig, weights: WeightFormat) -> float | None:
        """Return how fast one sample's weights can be read, tier by tier.

        The time is the sum over the tiers of their bytes per sample over the speed of their own
        working set: a tier's weights come from as near as all that was read since its last tick
        lets them. None for a model whose reads are not known.
        """
        reads = weight_reads(config, weights)
        if reads is None:
            return None
        speeds = {speed.working_set_bytes: speed.bytes_per_sec for speed in self.tiers}
        per_sample = (
            reads.per_sample,
            reads.per_frame / config.frame_size,
            reads.per_big_frame / config.big_frame_size,
        )
        sec = sum(
            size / speeds[working_set]
            for size, working_set in zip(per_sample, working_sets(reads), strict=True)
        )
        return sum(per_sample) / sec

    def flop_per_sec(self, weights: WeightFormat, precision: Precision) -> float:
        """Return the ceiling of multiplying."""
        return next(
            speed.flop_per_sec
            for speed in self.products
            if (speed.weights, speed.precision) == (weights, precision)
        )


def working_sets(reads: WeightReads) -> tuple[int, int, int]:
    """Return the bytes that lie between two ticks of the sample tier, the frame and the big one."""
    sample = reads.per_sample
    frame = sample + reads.per_frame
    return sample, frame, frame + reads.per_big_frame


def measure_ceilings(
    models: list[tuple[ModelConfig, WeightFormat]], precision: Precision
) -> Ceilings:
    """Measure what these models, in these formats of their weights, can be held against."""
    all_reads = [reads for model in models if (reads := weight_reads(*model)) is not None]
    sets = sorted({size for reads in all_reads for size in working_sets(reads)})
    formats = dict.fromkeys(weights for _, weights in models)
    return Ceilings(
        device_kind=jax.devices()[0].device_kind,
        memory=_read_speed(MEMORY_BYTES),
        tiers=[_read_speed(size) for size in sets],
        products=[
            ProductSpeed(weights, precision, _product_speed(weights, precision))
            for weights in formats
        ],
    )


def _read_speed(working_set_bytes: int) -> ReadSpeed:
    times = max(1, BYTES_PER_TIMING // working_set_bytes)
    speeds = [*_xla_read_speeds(working_set_bytes, times)]
    if _cpu_engine_is_there():
        groups = max(1, round(working_set_bytes / (READ_INPUTS * COLUMN_GROUP * FLOAT32_BYTES)))
        kernel = zero_kernel(READ_INPUTS, groups, "float32")
        read = jax.jit(partial(multiply_only, rows=1, turns=times, weights="float32"))
        size = kernel.weights.size * FLOAT32_BYTES
        speeds.append(size * times / least_seconds(read, kernel))
    return ReadSpeed(working_set_bytes, max(speeds))


def _xla_read_speeds(working_set_bytes: int, times: int) -> list[float]:
    """Read by a matrix-vector product, the way round that sums rows and the one that adds them."""
    values = max(1, working_set_bytes // FLOAT32_BYTES)
    columns = 2 ** round(math.log2(values) / 2)
    kernel = jnp.zeros((max(1, values // columns), columns))
    size = kernel.size * FLOAT32_BYTES

    def repeated(multiply: Any) -> Any:
        # Each turn hangs on the one before, so none can be left out.
        def turn(_: Array, x: Float[Array, " inputs"], kernel: Array) -> Float[Array, " inputs"]:
            return 1.0 + multiply(x, kernel)[0] + jnp.zeros_like(x)

        def run(x: Float[Array, " inputs"], kernel: Array) -> Float[Array, " inputs"]:
            return jax.lax.fori_loop(0, times, lambda index, x: turn(index, x, kernel), x)

        return jax.jit(run)

    rows, columns = kernel.shape
    return [
        size * times / least_seconds(repeated(lambda x, k: x @ k), jnp.ones(rows), kernel),
        size * times / least_seconds(repeated(lambda x, k: k @ x), jnp.ones(columns), kernel),
    ]


def _product_speed(weights: WeightFormat, precision: Precision) -> float:
    speed = peak_flop_per_sec(precision, weights)
    if not _cpu_engine_is_there():
        return speed
    multiplied: WeightFormat = (
        "bfloat16" if (precision, weights) == ("bfloat16", "float32") else weights
    )
    kernel = zero_kernel(PANEL_INPUTS, usable_cores(), multiplied)
    macs = kernel.weights.size * PANEL_ROWS
    turns = max(1, MACS_PER_TIMING // macs)
    multiply = jax.jit(partial(multiply_only, rows=PANEL_ROWS, turns=turns, weights=multiplied))
    done = FLOP_PER_MULTIPLY_ADD * macs * turns
    return max(speed, done / least_seconds(multiply, kernel))


def _cpu_engine_is_there() -> bool:
    return jax.default_backend() == "cpu" and library_path().exists()
