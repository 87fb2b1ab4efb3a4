"""How fast the sampler generates, and in how much memory.

A case is a number of clips side by side on a number of compiled rows, the tile. Its figures are
those of `Generator.generate` as sample.py calls it: features go in from host memory, levels come
back to it. Decoding, feature extraction and files are left out. They stand beside what the device
can do at most (`ceilings`): whichever of the two shares is larger says what the case waits for, and
where both are small it waits for neither, but for one step after the other.
"""

import math
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.arithmetic import product_flop
from benchmarks.ceilings import Ceilings
from benchmarks.machine import device_peak_mb, host_peak_mb, memory_suffices
from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat, weight_bytes_per_sample
from v2s_jax.model import StepCarry, VideoToSound, init_params
from v2s_jax.sampling import Request, Sampler, clip_key, content_hash
from v2s_jax.sampling.scan_engine import (
    ScanWeights,
    fused_output_kernels,
    run_big_frame,
    scan_samples,
    to_step_carry,
)

RANDOM_WEIGHTS = "random"
SEED = 0  # of random weights, features and noise; the time taken does not depend on it


@dataclass(frozen=True)
class SamplingCase:
    """What is measured."""

    model: Config | Path
    """A config, which gets random weights, or a checkpoint."""
    batch: int
    """Clips side by side."""
    batch_size: int
    """Rows that are computed at once; a larger batch takes several tiles, one after the other."""
    clip_sec: float
    """Length of each clip."""
    repeats: int
    """Timed runs of the whole batch."""
    precision: Precision
    engine: EngineName = "scan"
    weights: WeightFormat = "float32"

    def __post_init__(self) -> None:
        for option, value in (
            ("--batch", self.batch),
            ("--batch-size", self.batch_size),
            ("--repeats", self.repeats),
        ):
            if value < 1:
                raise InputError(f"{option} {value}: must be at least 1")
        if not (math.isfinite(self.clip_sec) and self.clip_sec > 0):
            raise InputError(f"--seconds {self.clip_sec}: use a number above 0, such as 4")


@dataclass(frozen=True)
class SamplingRow:
    """What was measured. Rates count the samples asked for, not rows and blocks beyond them."""

    preset: str
    weights: str
    """"random", or the checkpoint."""
    parameters: int
    precision: Precision
    engine: EngineName
    weight_format: WeightFormat
    device_kind: str
    batch: int
    batch_size: int
    tiles: int
    """Tiles computed one after the other for the batch."""
    clip_sec: float
    samples_per_clip: int
    sample_rate_hz: int
    compile_sec: float
    """From parameters to a compiled program, without its first run."""
    run_secs: list[float]
    """Each run of the whole batch, compilation left out."""
    run_sec_median: float
    run_sec_min: float
    run_sec_max: float
    samples_per_sec_per_stream: float
    """Samples of one clip over the time that the whole batch took."""
    samples_per_sec_total: float
    x_real_time_per_stream: float
    x_real_time_total: float
    weight_bytes_per_sample: float | None
    """Bytes of the seven products' weights that one sample of a tile reads; None for models that
    have others."""
    flop_per_sample: float
    """Floating-point operations of the matrix products of one sample of one clip, vision left
    out; products of integers count alike."""
    weight_bytes_per_sec: float | None
    """Weights read: once for all rows of a tile."""
    flop_per_sec: float
    """Of the samples asked for: rows without a clip do no work that counts."""
    read_bytes_per_sec: float | None
    """How fast these weights can be read at most (`Ceilings.read_bytes_per_sec`)."""
    peak_flop_per_sec: float
    """How fast the device multiplies at most with weights of this format."""
    share_of_reading: float | None
    share_of_multiplying: float
    host_peak_mb: float
    """Resident memory of the case's own process: interpreter, JAX and compilation included."""
    device_peak_mb: float | None
    """Memory that JAX's allocator held on the device; None where it keeps no count (CPU)."""


def measure_sampling(case: SamplingCase, ceilings: Ceilings) -> SamplingRow:
    """Measure one case in this process, which should be a fresh one: peaks never fall.

    `ceilings` are those of the same device, measured in the same run.

    Raises InputError when the checkpoint cannot be read or memory runs out.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    with memory_suffices(
        f"batch {case.batch} on a tile of {case.batch_size}",
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
    tiles = math.ceil(case.batch / case.batch_size)
    weight_bytes = weight_bytes_per_sample(config.model, case.weights)
    weight_rate = None if weight_bytes is None else weight_bytes * tiles * samples / median
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
        tiles=tiles,
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


def load_config(model: Config | Path) -> Config:
    """Return the config of what is measured."""
    return model if isinstance(model, Config) else load_model(model)[0]


def load_model(model: Config | Path) -> tuple[Config, dict[str, Any]]:
    """Return a config with random weights, or a checkpoint."""
    if isinstance(model, Config):
        return model, _random_params(model)
    # Only checkpoints need Orbax and safetensors.
    from v2s_jax.checkpoints import load_params

    return load_params(model)


def _random_params(config: Config) -> dict[str, Any]:
    """Return parameters as training starts from."""
    return jax.jit(partial(init_params, VideoToSound(config)))(jax.random.key(SEED))


def _compile(config: Config, params: dict[str, Any], case: SamplingCase) -> tuple[Sampler, float]:
    """Return the sampler, all of its programs compiled, and the seconds that took.

    A clip of one big frame, once with what it compiles and once without.
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
    compiled_sec = time.perf_counter() - start
    return sampler, compiled_sec - _seconds(sampler, requests)


def _flop_per_sample(sampler: Sampler) -> float:
    """Return the operations of the scan's products, which those of other engines equal."""
    config = sampler.config
    size = config.model.big_frame_size
    carry = sampler.start(np.zeros((sampler.batch_size, 2), np.uint32)).carry
    model = sampler.model
    weights = jax.eval_shape(
        lambda f: ScanWeights(f, fused_output_kernels(model, f)), sampler.folded
    )

    def big_frame(weights: ScanWeights, carry: StepCarry, given: jax.Array) -> Any:
        samples = scan_samples(sampler.model, weights.tiers, lambda logits, given: (given, logits))
        return run_big_frame(sampler.model, weights, carry, None, given, samples)

    given = np.zeros((sampler.batch_size, size), np.int32)
    first = jax.eval_shape(partial(to_step_carry, model), weights, carry)
    return product_flop(big_frame, weights, first, given) / (size * sampler.batch_size)


def _requests(config: Config, batch: int, samples: int) -> list[Request]:
    """Return clips that differ in noise and share their features, which cost the same anyway."""
    shape = (config.clock.video_frames(samples), config.model.feature_dim)
    features = np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)
    return [
        Request(clip_key(SEED, content_hash(str(clip).encode())), samples, features)
        for clip in range(batch)
    ]


def _seconds(sampler: Sampler, requests: list[Request]) -> float:
    start = time.perf_counter()
    sampler.generate(requests)
    return time.perf_counter() - start
