"""`python -m benchmarks tpu`: compile the training step and the sampler for TPUs that are not here.

libtpu compiles without a TPU. Nothing is run: time and memory are what its compiler expects.
"""

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks.common import Row, get_preset, measure_cases, print_table, report_file, write_report
from benchmarks.flop import FLOP_PER_MULTIPLY_ADD
from benchmarks.machine import BYTES_PER_MB, describe_machine
from benchmarks.training import clip_samples, flop_per_sample, step_shapes
from v2s_jax.config import PRESETS, Config
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.model import (
    VideoToSound,
    init_params,
    initial_carry,
    prepare_for_inference,
    without_weight_norm,
)
from v2s_jax.sampling.sampler import run_block
from v2s_jax.sampling.scan_engine import ScanEngine
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES, DEFAULT_BATCH_SIZE, SamplerState
from v2s_jax.training.parallel_shard_map import ShardMapDataParallel
from v2s_jax.training.step import steps_in_call

TOPOLOGIES = {"v5e": "2x2", "v5p": "2x2x1", "v6e": "2x2"}
"""Four chips of each TPU, as XLA names their arrangement."""
PEAK_FLOP_PER_SEC = {"v5e": 197e12, "v5p": 459e12, "v6e": 918e12}
"""Of one chip in bf16, from Google's pages of the chips."""
PRODUCT_SIZE = 8_192
"""Rows and columns of the product that is taken to run at the peak. """

NO_TPU_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
"""What libtpu otherwise asks Google's metadata server, and warns of; any type of TPU will do. The
last one lets several processes compile at once."""

PROGRAMS = ("update", "sampler")

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
NAME = re.compile(r"%([\w.\-]+)")
BRANCHES = re.compile(r" conditional\(.*(?:branch_computations=\{|true_computation=)([^}]*)")
LOOP = re.compile(r" while\(.*condition=%([\w.\-]+), body=%([\w.\-]+)")
BOUND = re.compile(r"s32\[\]\S* constant\((\d+)\)")

NOTES = """\
arguments, temporary mb: memory of one chip for the program's inputs and for everything between.
update ms: the compiler's estimated cycles of one update; loops count as often as they run, the
  exchange between chips is not counted. A cycle is as long as if a large product ran at the peak.
share of peak: FLOP of the update's matrix products over what the chips could do in that time."""


@dataclass(frozen=True, kw_only=True)
class TpuArgs:
    """Compile the training step and the sampler of each preset for four chips of each TPU."""

    preset: tuple[str, ...] = tuple(PRESETS)
    """Configs to compile."""
    tpu: tuple[str, ...] = tuple(TOPOLOGIES)
    """TPUs to compile for."""
    json: Path | None = None
    """File to write the figures to, as JSON."""

    def run(self) -> None:
        """Compile every case, and print and write the figures."""
        for name in self.tpu:
            if name not in TOPOLOGIES:
                raise unknown_name_error("--tpu", name, TOPOLOGIES)
        if importlib.util.find_spec("libtpu") is None:
            raise InputError("libtpu is not installed: pip install 'v2s_jax[tpu]'")
        os.environ.update(NO_TPU_HERE)
        cases = [
            Case(config, tpu, program)
            for config in map(get_preset, self.preset)
            for tpu in self.tpu
            for program in PROGRAMS
        ]
        machine = describe_machine()
        with report_file(self.json) as file:
            rows = []
            for row in measure_cases(compile_case, cases, "cpu"):
                rows.append(row)
                write_report(file, "tpu", machine, "none", libtpu=version("libtpu"), rows=rows)
        print_table(rows)
        print(f"\n{NOTES}\n{machine}")


@dataclass(frozen=True)
class Case:
    """A program to compile."""

    config: Config
    tpu: str
    program: str


def compile_case(case: Case) -> Row:
    """Compile one program, and return what the compiler says of it."""
    jax.config.update("jax_enable_compilation_cache", False)
    topology = topologies.get_topology_desc(f"{case.tpu}:{TOPOLOGIES[case.tpu]}", platform="tpu")
    chips = topology.devices if case.program == "update" else topology.devices[:1]
    lower = lower_step if case.program == "update" else lower_sampler
    compiled = lower(case.config, chips).compile()
    memory: Any = compiled.memory_analysis()
    row: Row = {
        "preset": case.config.name,
        "program": case.program,
        "tpu": case.tpu,
        "chips": len(chips),
        "peak_flop_per_sec": PEAK_FLOP_PER_SEC[case.tpu],
        "arguments_mb": memory.argument_size_in_bytes / BYTES_PER_MB,
        "temporary_mb": memory.temp_size_in_bytes / BYTES_PER_MB,
        "code_mb": memory.generated_code_size_in_bytes / BYTES_PER_MB,
        "update_ms": None,
        "share_of_peak": None,
    }
    if case.program == "update":
        sec = estimated_cycles(compiled.as_text() or "") * _cycle_sec(
            chips[0], row["peak_flop_per_sec"]
        )
        sec /= steps_in_call(case.config, clip_samples(case.config))
        flop = update_flop(case.config)
        row["update_ms"] = sec * 1e3
        row["share_of_peak"] = flop / (sec * len(chips) * row["peak_flop_per_sec"])
    return row


def lower_step(config: Config, chips: Sequence[Any]) -> jax.stages.Lowered:
    """Lower the compiled call of the training loop."""
    model = VideoToSound(config, config.training.precision)
    samples = clip_samples(config)
    parallel = ShardMapDataParallel(model, steps_in_call(config, samples), chips)
    return parallel.lower(*step_shapes(model, samples, config.training.batch_clips))


def update_flop(config: Config) -> float:
    """Count the operations of the matrix products of one update."""
    training = config.training
    model = VideoToSound(config, training.precision)
    return (
        flop_per_sample(model, clip_samples(config)) * training.batch_clips * training.chunk_samples
    )


def lower_sampler(config: Config, chips: Sequence[Any]) -> jax.stages.Lowered:
    """Lower what the scan engine calls for each block of video frames, on one chip."""
    model = VideoToSound(without_weight_norm(config), "default")
    engine = ScanEngine(model, "float32")
    slots = DEFAULT_BATCH_SIZE
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    folded = jax.eval_shape(partial(prepare_for_inference, model), params)
    shape: Any = jax.ShapeDtypeStruct
    shapes = (
        folded.params,
        jax.eval_shape(engine.pack, folded),
        SamplerState(
            jax.eval_shape(lambda params: initial_carry(model, params, slots), folded.params),
            shape((slots, 2), jnp.uint32),
            shape((), jnp.int32),
            shape((slots,), jnp.int32),
        ),
        shape(block_features(config, slots), jnp.float32),
        shape((), jnp.float32),
        shape((), jnp.int32),
    )
    on_chip = SingleDeviceSharding(chips[0])
    placed = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_chip), shapes
    )
    run = partial(run_block, model, engine, forced=None, keep="levels")
    return jax.jit(run, donate_argnums=2).lower(*placed)


def block_features(config: Config, slots: int) -> tuple[int, int, int]:
    """Return the shape of a block's features; models that encode the video read none of them."""
    width = 0 if config.model.encodes_video else config.model.feature_dim
    return slots, BLOCK_VIDEO_FRAMES + config.model.window - 1, width


def estimated_cycles(program: str) -> int:
    """Add up XLA's estimates of the instructions of a compiled program.

    A loop counts as often as it runs, a condition as its most expensive branch. Raises ValueError
    for a loop of unknown length.
    """
    computations: dict[str, list[str]] = {}
    for line in program.splitlines():
        if match := COMPUTATION.match(line):
            lines = computations.setdefault("" if match[1] else match[2], [])
        elif line.startswith("  "):
            lines.append(line)

    def count(name: str) -> int:
        total = 0
        for line in computations[name]:
            total += sum(map(int, CYCLES.findall(line)))
            if loop := LOOP.search(line):
                bounds = BOUND.findall("\n".join(computations[loop[1]]))
                if len(bounds) != 1:
                    raise ValueError(f"loop {loop[1]}: unknown length")
                total += int(bounds[0]) * count(loop[2])
            if branches := BRANCHES.search(line):
                total += max(map(count, NAME.findall(branches[1])))
        return total

    return count("")


def _cycle_sec(chip: Any, peak: float) -> float:
    """Return the time of a cycle at which a large product in bf16 runs at the peak."""
    matrix = jax.ShapeDtypeStruct(
        (PRODUCT_SIZE, PRODUCT_SIZE), jnp.bfloat16, sharding=SingleDeviceSharding(chip)
    )
    product = jax.jit(jnp.dot).lower(matrix, matrix).compile()
    flop = FLOP_PER_MULTIPLY_ADD * PRODUCT_SIZE**3
    return flop / peak / estimated_cycles(product.as_text() or "")
