"""`python -m benchmarks sampling`: how fast the sampler generates, and in how much memory.

A case is a number of clips and a batch size: the slots that the compiled program has. Its figures
are those of `generate` as `v2s sample` calls it: features start in host memory, levels end there.
Decoding, feature extraction and files are not included. Each row is compared with what the device
can do at most (`ceilings`): the larger share says what the case is bound by. Where both are small,
it is bound by latency: one step waits for the other.
"""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import tyro

from benchmarks.ceilings import Ceilings, measure_ceilings
from benchmarks.common import (
    ModelArgs,
    check_at_least_one,
    get_preset,
    measure_cases,
    measure_isolated,
    output_file,
    report_file,
    write_report,
)
from benchmarks.flop import count_matmul_flop
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb
from benchmarks.report import (
    NOTES,
    SamplingCase,
    SamplingReport,
    SamplingRow,
    print_sampling,
    read_report,
)
from benchmarks.roofline import draw_roofline
from benchmarks.samplernn_pytorch import check_peer, measure_peer, sampling_work
from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import EngineOption
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.kernels.weight_reads import weight_reads
from v2s_jax.model import StepCarry, VideoToSound, init_params, without_weight_norm
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    Request,
    Sampler,
    choose_engine,
    clip_key,
    content_hash,
    generate,
)
from v2s_jax.sampling.sampler import make_engine
from v2s_jax.sampling.scan_engine import (
    ScanWeights,
    fused_output_kernels,
    run_big_frame,
    scan_samples,
    to_step_carry,
)

RANDOM_WEIGHTS = "random"
SEED = 0  # of random weights, features and noise; the speed does not depend on it


@dataclass(frozen=True, kw_only=True)
class SamplingArgs(ModelArgs):
    """Measure the sampler: compilation, speed and memory. Options with several values make rows."""

    preset: str = "demo"
    """Config to measure, with random weights."""
    checkpoint: Path | None = None
    """Measure this instead of a preset: a .safetensors file, a --workdir, or a pretrained
    model."""
    batch: tuple[int, ...] = ()
    """Clips to generate; by default 1 and 4. More values make more rows."""
    batch_size: tuple[int | Literal["batch"], ...] = ()
    """Clips computed at once, by default 4; more clips take several passes. `batch`: as many as
    --batch."""
    seconds: float = 4.0
    """Length of each clip."""
    engine: tuple[EngineOption, ...] = ()
    """What runs the model: scan (XLA), cpu, which `v2s build` builds, or auto, which makes one row
    for each --batch with the engine, weights and batch size that it chooses."""
    weights: tuple[WeightFormat, ...] = ()
    """Format of the weights, by default float32."""
    plot: Path | None = None
    """File for the roofline of the rows (PNG)."""

    def run(self) -> None:
        """Measure every combination, and print, write and draw the figures."""
        model = self.checkpoint or get_preset(self.preset)
        cases, weights = self.cases(), self.weights or ("float32",)
        if "auto" in self.engine:  # which may choose any
            weights = get_args(WeightFormat)
        config = model if isinstance(model, Config) else load_params(model)[0]
        check_peer(self, config)
        machine = describe_machine()
        with report_file(self.json) as file, output_file(self.plot, "--plot") as image:
            measure_isolated(partial(check_engines, cases), config, self.device)
            ceilings = measure_isolated(
                partial(measure_ceilings, formats=weights, precision=self.precision),
                config.model,
                self.device,
            )
            measure = partial(
                measure_sampling, model=model, repeats=self.repeats, ceilings=ceilings
            )
            report = SamplingReport(machine, ceilings, [], [])
            try:
                for row in measure_cases(measure, cases, self.device):
                    report.rows.append(row)
                    write_report(file, "sampling", device=row.device_kind, **report._asdict())
                batches = list(dict.fromkeys(case.batch for case in cases))
                work, device = sampling_work(config), report.rows[0].device_kind
                report.peer_rows.extend(measure_peer(self, config, work, batches, device))
                write_report(file, "sampling", device=device, **report._asdict())
            finally:
                if report.rows:
                    print_sampling(report)
                    print(f"\n{NOTES}\n{machine}")
            if image is not None:
                draw_roofline(image, report)

    def cases(self) -> list[SamplingCase]:
        """Return the combinations of the options."""
        batch_sizes = [size for size in self.batch_size if size != "batch"]
        check_at_least_one(repeats=self.repeats, batch=self.batch, batch_size=batch_sizes)
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise InputError(f"--seconds {self.seconds}: use a number above 0, such as 4")
        batches = self.batch or (1, DEFAULT_BATCH_SIZE)
        engines = self.engine or ("scan",)
        combinations = itertools.product(
            batches,
            self.batch_size or (DEFAULT_BATCH_SIZE,),
            [engine for engine in engines if engine != "auto"],
            self.weights or ("float32",),
        )
        cases = [
            SamplingCase(
                batch=batch,
                batch_size=batch if batch_size == "batch" else batch_size,
                clip_sec=self.seconds,
                precision=self.precision,
                engine=engine,
                weight_format=weights,
            )
            for batch, batch_size, engine, weights in combinations
        ]
        if "auto" in engines:
            cases += [
                SamplingCase(
                    batch=batch,
                    batch_size=DEFAULT_BATCH_SIZE,
                    clip_sec=self.seconds,
                    precision=self.precision,
                    engine="scan",  # until the process that measures has made the choice
                    weight_format="float32",
                    is_auto=True,
                )
                for batch in batches
            ]
        return list(dict.fromkeys(cases))


@dataclass(frozen=True)
class ShowArgs:
    """Print the tables of a report of the sampling benchmark, and draw its roofline."""

    report: tyro.conf.Positional[Path]
    """JSON file that `sampling --json` wrote."""
    plot: Path | None = None
    """File for the roofline (PNG)."""

    def run(self) -> None:
        """Read the report, then print and draw."""
        report = read_report(self.report)
        with output_file(self.plot, "--plot") as image:
            print(f"{report.machine}, jax {report.machine.jax}")
            print_sampling(report)
            if image is not None:
                draw_roofline(image, report)


def check_engines(cases: Sequence[SamplingCase], config: Config) -> None:
    """Raise InputError for an engine that cannot run here, before minutes are spent on others."""
    for case in cases:
        model = VideoToSound(without_weight_norm(config), case.precision)
        make_engine(case.engine, model, case.weight_format, case.batch_size)


def measure_sampling(
    case: SamplingCase, model: Config | Path, repeats: int, ceilings: Ceilings
) -> SamplingRow:
    """Measure one case in this process, which should be a new one: memory peaks never fall."""
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    config, params = load_model(model)
    samples = config.clock.samples(case.clip_sec)
    if samples < 1:
        raise InputError(f"--seconds {case.clip_sec}: shorter than one sample: use more")
    if case.is_auto:
        choice = choose_engine(config, params, clips=case.batch, wait=True)
        case = dataclasses.replace(
            case,
            engine=choice.engine,
            weight_format=choice.weights,
            batch_size=choice.batch_size,
        )
    sampler, compile_sec = _compile(config, params, case)
    requests = _requests(config, case.batch, samples)
    run_secs = [_seconds(sampler, requests) for _ in range(repeats)]
    median = statistics.median(run_secs)
    samples_per_sec = case.batch * samples / median
    device = jax.devices()[0]
    reads = weight_reads(config.model, case.weight_format)
    weight_bytes = read_rate = weight_rate = None
    if reads is not None:
        weight_bytes = sum(reads.by_tier(config.model))
        passes = math.ceil(case.batch / case.batch_size)
        weight_rate = weight_bytes * passes * samples / median
        read_rate = ceilings.read_bytes_per_sec(config.model, reads)
    flop_per_sample = _flop_per_sample(sampler)
    peak = ceilings.flop_per_sec(case.weight_format)
    return SamplingRow(
        **vars(case),
        preset=config.name,
        weights=RANDOM_WEIGHTS if isinstance(model, Config) else str(model),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        device_kind=device.device_kind,
        samples_per_clip=samples,
        sample_rate_hz=config.clock.sample_rate_hz,
        compile_sec=compile_sec,
        run_secs=run_secs,
        run_sec_median=median,
        samples_per_sec_total=samples_per_sec,
        x_real_time_total=samples_per_sec / config.clock.sample_rate_hz,
        weight_bytes_per_sample=weight_bytes,
        flop_per_sample=flop_per_sample,
        weight_bytes_per_sec=weight_rate,
        flop_per_sec=flop_per_sample * samples_per_sec,
        read_bytes_per_sec=read_rate,
        peak_flop_per_sec=peak,
        share_of_reading=weight_rate / read_rate if weight_rate and read_rate else None,
        share_of_multiplying=flop_per_sample * samples_per_sec / peak,
        host_peak_mb=host_peak_mb(),
        device_peak_mb=device_peak_mb(device),
    )


def load_model(model: Config | Path) -> tuple[Config, dict[str, Any]]:
    """Return config and parameters: random ones, or those of a checkpoint."""
    if isinstance(model, Path):
        return load_params(model)
    return model, jax.jit(partial(init_params, VideoToSound(model)))(jax.random.key(SEED))


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
        weights=case.weight_format,
    )
    requests = _requests(config, 1, config.model.big_frame_size)
    _seconds(sampler, requests)
    first_sec = time.perf_counter() - start
    return sampler, first_sec - _seconds(sampler, requests)


def _flop_per_sample(sampler: Sampler) -> float:
    """Count the operations of the scan engine's products; other engines have the same."""
    model, batch_size = sampler.model, sampler.batch_size
    size = sampler.config.model.big_frame_size
    carry = sampler.init_state(np.zeros((batch_size, 2), np.uint32)).carry
    weights = jax.eval_shape(
        lambda f: ScanWeights(f, fused_output_kernels(model, f)), sampler.folded
    )

    def big_frame(weights: ScanWeights, carry: StepCarry, given: jax.Array) -> Any:
        samples = scan_samples(model, weights.tiers, lambda logits, given: (given, logits))
        return run_big_frame(model, weights, carry, None, given, samples)

    given = np.zeros((batch_size, size), np.int32)
    first = jax.eval_shape(partial(to_step_carry, model), weights, carry)
    return count_matmul_flop(big_frame, weights, first, given) / (size * batch_size)


def _requests(config: Config, batch: int, samples: int) -> list[Request]:
    """Return clips with different noise and the same features, which cost the same."""
    features = random_features(config, config.clock.video_frames(samples))
    return [
        Request(clip_key(SEED, content_hash(str(clip).encode())), samples, features)
        for clip in range(batch)
    ]


def random_features(config: Config, video_frames: int) -> np.ndarray:
    """Return the features of a clip."""
    shape = (video_frames, config.model.feature_dim)
    return np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)


def _seconds(sampler: Sampler, requests: list[Request]) -> float:
    start = time.perf_counter()
    generate(sampler, requests)
    return time.perf_counter() - start
