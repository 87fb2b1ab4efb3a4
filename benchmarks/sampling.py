"""`python -m benchmarks sampling`: how fast the sampler generates, and in how much memory.

A case is a number of clips and a batch size: the slots that the compiled program has. Its figures
are those of `generate` as `v2s sample` calls it: features start in host memory, levels end there.
Decoding, feature extraction and files are not included. Each row is compared with what the device
can do at most (`ceilings`): the larger share says what the case is bound by. Where both are small,
it is bound by latency: one step waits for the other.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro

from benchmarks.ceilings import Ceilings, measure_ceilings
from benchmarks.common import (
    BenchmarkArgs,
    PeerArgs,
    check_at_least_one,
    describe_load,
    get_preset,
    measure_cases,
    measure_isolated,
    output_file,
    write_report,
)
from benchmarks.flop import count_matmul_flop
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb, wrap_memory_errors
from benchmarks.report import SamplingRow
from benchmarks.roofline import draw_roofline
from benchmarks.samplernn_pytorch import (
    Peer,
    PeerSamplingRow,
    measure_peer_sampling,
    sampling_work,
)
from benchmarks.show import NOTES, print_sampling
from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat, weight_bytes_per_sample
from v2s_jax.model import StepCarry, VideoToSound, init_params
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    Request,
    Sampler,
    clip_key,
    content_hash,
    generate,
)
from v2s_jax.sampling.scan_engine import (
    ScanWeights,
    fused_output_kernels,
    run_big_frame,
    scan_samples,
    to_step_carry,
)

RANDOM_WEIGHTS = "random"
SEED = 0  # of random weights, features and noise; the speed does not depend on it
DEFAULT_CLIPS = (1, DEFAULT_BATCH_SIZE)
CPU = "cpu"


@dataclass(frozen=True, kw_only=True)
class SamplingArgs(PeerArgs, BenchmarkArgs):
    """Measure the sampler: compilation, speed and memory. Options with several values make rows."""

    preset: str = "demo"
    """Config to measure, with random weights."""
    checkpoint: Path | None = None
    """Measure this instead of a preset: a .safetensors file, a --workdir, or frame, seq or flow."""
    batch: tyro.conf.UseAppendAction[tuple[int, ...]] = ()
    """Clips to generate. Repeat the option for more rows."""
    batch_size: tyro.conf.UseAppendAction[tuple[int | Literal["batch"], ...]] = ()
    """Clips computed at once; more clips take several passes. `batch`: as many as --batch."""
    seconds: float = 4.0
    """Length of each clip."""
    engine: tyro.conf.UseAppendAction[tuple[EngineName, ...]] = ()
    """What runs the model: scan (XLA), or cpu, which `v2s build` builds."""
    weights: tyro.conf.UseAppendAction[tuple[WeightFormat, ...]] = ()
    """Format of the weights."""
    plot: Path | None = None
    """File for the roofline of the rows (PNG)."""

    def run(self) -> None:
        """Measure every combination, and print, write and draw the figures."""
        args = replace(
            self,
            batch=self.batch or DEFAULT_CLIPS,
            batch_size=self.batch_size or (DEFAULT_BATCH_SIZE,),
            engine=self.engine or ("scan",),
            weights=self.weights or ("float32",),
        )
        args.measure(args.cases())

    def cases(self) -> list["SamplingCase"]:
        """Return the combinations of the options."""
        model = self.checkpoint or get_preset(self.preset)
        return [
            SamplingCase(
                model=model,
                batch=batch,
                batch_size=batch if batch_size == "batch" else batch_size,
                clip_sec=self.seconds,
                repeats=self.repeats,
                precision=self.precision,
                engine=engine,
                weights=weights,
            )
            for batch in self.batch
            for batch_size in self.batch_size
            for engine in self.engine
            for weights in self.weights
        ]

    def measure(self, cases: list["SamplingCase"]) -> None:
        """Measure `cases`."""
        peer = None if self.peer is None else Peer(self.peer, self.peer_python)
        config = load_config(cases[0].model)
        if peer:  # raises for a model that the peer does not have, before anything is measured
            sampling_work(config, cases[0].batch, self.repeats, CPU)
        machine = describe_machine()
        with output_file(self.json) as file, output_file(self.plot, "--plot") as image:
            models = [(config.model, case.weights) for case in cases]
            measure = partial(measure_ceilings, precision=self.precision)
            ceilings = measure_isolated(measure, models, self.device)
            measure_row = partial(measure_sampling, ceilings=ceilings)
            rows = list(measure_cases(measure_row, cases, self.device))
            peer_rows = _measure_peer(peer, rows, config, self.repeats) if peer else []
            print_sampling(rows, peer_rows, ceilings)
            print(f"\n{NOTES}\n{describe_load(machine)}")
            if file is not None:
                parts = {"ceilings": ceilings, "rows": rows, "peer_rows": peer_rows}
                write_report(file, "sampling", self, machine, rows[0].device_kind, **parts)
            if image is not None:
                draw_roofline(image, rows, ceilings, machine)


@dataclass(frozen=True)
class SamplingCase:
    """One case to measure."""

    model: Config | Path
    """A config, for random weights, or a checkpoint."""
    batch: int
    """Clips to generate."""
    batch_size: int
    """Clips computed at once; a larger batch takes several passes."""
    clip_sec: float
    """Length of each clip."""
    repeats: int
    """Timed runs of the whole batch."""
    precision: Precision
    engine: EngineName = "scan"
    weights: WeightFormat = "float32"

    def __post_init__(self) -> None:
        check_at_least_one(batch=self.batch, batch_size=self.batch_size, repeats=self.repeats)
        if not (math.isfinite(self.clip_sec) and self.clip_sec > 0):
            raise InputError(f"--seconds {self.clip_sec}: use a number above 0, such as 4")


def measure_sampling(case: SamplingCase, ceilings: Ceilings) -> SamplingRow:
    """Measure one case in this process, which should be a new one: memory peaks never fall.

    Raises InputError when the checkpoint cannot be read or memory runs out.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    with wrap_memory_errors(
        f"batch {case.batch}, batch size {case.batch_size}",
        "use a smaller --batch or --batch-size",
    ):
        return _measure(case, ceilings)


def _measure(case: SamplingCase, ceilings: Ceilings) -> SamplingRow:
    config, params = load_model(case.model)
    samples = config.clock.samples(case.clip_sec)
    if samples < 1:
        raise InputError(f"--seconds {case.clip_sec}: shorter than one sample: use more")
    sampler, compile_sec = _compile(config, params, case)
    requests = _requests(config, case.batch, samples)
    run_secs = [_seconds(sampler, requests) for _ in range(case.repeats)]
    median = statistics.median(run_secs)
    rate_hz = config.clock.sample_rate_hz
    device = jax.devices()[0]
    passes = math.ceil(case.batch / case.batch_size)
    weight_bytes = weight_bytes_per_sample(config.model, case.weights)
    weight_rate = None if weight_bytes is None else weight_bytes * passes * samples / median
    read_rate = ceilings.read_bytes_per_sec(config.model, case.weights)
    flop_per_sample = _flop_per_sample(sampler)
    flop_rate = flop_per_sample * case.batch * samples / median
    peak = ceilings.flop_per_sec(case.weights, case.precision)
    return SamplingRow(
        preset=config.name,
        weights=RANDOM_WEIGHTS if isinstance(case.model, Config) else str(case.model),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        precision=case.precision,
        engine=case.engine,
        weight_format=case.weights,
        device_kind=device.device_kind,
        batch=case.batch,
        batch_size=case.batch_size,
        clip_sec=case.clip_sec,
        samples_per_clip=samples,
        sample_rate_hz=rate_hz,
        compile_sec=compile_sec,
        run_secs=run_secs,
        run_sec_median=median,
        run_sec_min=min(run_secs),
        run_sec_max=max(run_secs),
        samples_per_sec_per_stream=samples / median,
        samples_per_sec_total=case.batch * samples / median,
        x_real_time_per_stream=samples / median / rate_hz,
        x_real_time_total=case.batch * samples / median / rate_hz,
        weight_bytes_per_sample=weight_bytes,
        flop_per_sample=flop_per_sample,
        weight_bytes_per_sec=weight_rate,
        flop_per_sec=flop_rate,
        read_bytes_per_sec=read_rate,
        peak_flop_per_sec=peak,
        share_of_reading=weight_rate / read_rate if weight_rate and read_rate else None,
        share_of_multiplying=flop_rate / peak,
        host_peak_mb=host_peak_mb(),
        device_peak_mb=device_peak_mb(device),
    )


def _measure_peer(
    peer: Peer, rows: Sequence[SamplingRow], config: Config, repeats: int
) -> list[PeerSamplingRow]:
    """Measure the peer at each batch of the rows, on the same kind of device."""
    platform = CPU if rows[0].device_kind == CPU else "gpu"
    return [
        measure_peer_sampling(peer, sampling_work(config, batch, repeats, platform))
        for batch in dict.fromkeys(row.batch for row in rows)
    ]


def load_config(model: Config | Path) -> Config:
    """Return the config of what is measured."""
    return model if isinstance(model, Config) else load_model(model)[0]


def load_model(model: Config | Path) -> tuple[Config, dict[str, Any]]:
    """Return config and parameters: random ones, or those of a checkpoint."""
    if isinstance(model, Config):
        return model, _random_params(model)
    return load_params(model)


def _random_params(config: Config) -> dict[str, Any]:
    return jax.jit(partial(init_params, VideoToSound(config)))(jax.random.key(SEED))


def _compile(config: Config, params: dict[str, Any], case: SamplingCase) -> tuple[Sampler, float]:
    """Return a compiled sampler, and the seconds that compiling took.

    That is: generating one big frame the first time, minus the second time.
    """
    start = time.perf_counter()
    sampler = Sampler(
        config,
        params,
        batch_size=case.batch_size,
        precision=case.precision,
        engine=case.engine,
        weights=case.weights,
    )
    requests = _requests(config, 1, config.model.big_frame_size)
    _seconds(sampler, requests)
    first_sec = time.perf_counter() - start
    return sampler, first_sec - _seconds(sampler, requests)


def _flop_per_sample(sampler: Sampler) -> float:
    """Count the operations of the scan engine's products; other engines have the same."""
    config = sampler.config
    size = config.model.big_frame_size
    carry = sampler.init_state(np.zeros((sampler.batch_size, 2), np.uint32)).carry
    model = sampler.model
    weights = jax.eval_shape(
        lambda f: ScanWeights(f, fused_output_kernels(model, f)), sampler.folded
    )

    def big_frame(weights: ScanWeights, carry: StepCarry, given: jax.Array) -> Any:
        samples = scan_samples(sampler.model, weights.tiers, lambda logits, given: (given, logits))
        return run_big_frame(sampler.model, weights, carry, None, given, samples)

    given = np.zeros((sampler.batch_size, size), np.int32)
    first = jax.eval_shape(partial(to_step_carry, model), weights, carry)
    return count_matmul_flop(big_frame, weights, first, given) / (size * sampler.batch_size)


def _requests(config: Config, batch: int, samples: int) -> list[Request]:
    """Return clips with different noise and the same features, which cost the same."""
    shape = (config.clock.video_frames(samples), config.model.feature_dim)
    features = np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)
    return [
        Request(clip_key(SEED, content_hash(str(clip).encode())), samples, features)
        for clip in range(batch)
    ]


def _seconds(sampler: Sampler, requests: list[Request]) -> float:
    start = time.perf_counter()
    generate(sampler, requests)
    return time.perf_counter() - start
