"""How fast the training step is, how near to what the device can do, and in how much memory.

A case is a config and a number of clips. Its figures are those of the compiled call of the
training loop, on whole clips that lie on the devices already: reading, logging, evaluations and
checkpoints are left out.
"""

import dataclasses
import math
import statistics
import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arithmetic import peak_flop_per_sec, product_flop
from benchmarks.machine import device_peak_mb, host_peak_mb, memory_suffices
from v2s_jax.config import Config, ModelConfig, Precision
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.parallel import DataParallel, all_devices
from v2s_jax.training.state import init_state
from v2s_jax.training.step import (
    DeviceBatch,
    chunks_per_clip,
    train_step,
    updates_in_call,
)
from v2s_jax.types import FeatureStatistics, Statistics

SEED = 0  # of the clips; the time taken does not depend on it
SHORTEST_CLIP_SAMPLES = 8_192
"""Clips are as long as one call of the loop needs, and no shorter than this: 8 video frames."""


@dataclass(frozen=True)
class TrainingCase:
    """What is measured."""

    config: Config
    """A preset."""
    batch: int
    """Clips per update, over all devices."""
    repeats: int
    """Timed calls."""
    precision: Precision

    def __post_init__(self) -> None:
        for option, value in (("--batch", self.batch), ("--repeats", self.repeats)):
            if value < 1:
                raise InputError(f"{option} {value}: must be at least 1")


@dataclass(frozen=True)
class TrainingRow:
    """What was measured."""

    preset: str
    variant: str
    parameters: int
    precision: Precision
    device_kind: str
    devices: int
    batch: int
    chunk_samples: int
    sample_rate_hz: int
    steps_per_call: int
    compile_sec: float
    """The first call, without what a later one takes."""
    step_secs: list[float]
    """Seconds per update of each timed call."""
    step_sec_median: float
    step_sec_min: float
    step_sec_max: float
    samples_per_sec: float
    """Samples trained on, all clips together."""
    x_real_time: float
    flop_per_sample: float
    """Of the matrix products of an update, forward and backward, from its trace."""
    flop_per_sec: float
    peak_flop_per_sec: float
    """Of the fastest square product in the same precision, all devices, measured just before."""
    share_of_peak: float
    host_peak_mb: float
    """Resident memory of the case's own process: interpreter, JAX and compilation included."""
    device_peak_mb: float | None
    """Memory that JAX's allocator held on the first device; None where it keeps no count (CPU)."""


def measure_training(case: TrainingCase) -> TrainingRow:
    """Measure one case in this process, which should be a fresh one: peaks never fall.

    Raises InputError when the clips cannot be split over the devices or memory runs out.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    with memory_suffices(f"batch {case.batch}", "use a smaller --batch"):
        return _measure(case)


def _measure(case: TrainingCase) -> TrainingRow:
    config = _config(case)
    samples = _clip_samples(config)
    updates = updates_in_call(config, samples)
    model = VideoToSound(config, case.precision)
    devices = all_devices()
    parallel = DataParallel(model, updates, devices)
    state = init_state(model, no_statistics(config.model))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    on_host = jax.tree.map(np.array, (state, initial_carry(model, state.params, case.batch)))
    peak = peak_flop_per_sec(case.precision) * len(devices)
    state, carry = parallel.replicate(on_host[0]), parallel.split(on_host[1])
    batch = DeviceBatch(*parallel.split(_clips(config, samples, case.batch)))

    secs = []
    for _ in range(1 + case.repeats):
        start = time.perf_counter()
        state, carry, metrics = parallel(state, carry, batch)
        jax.tree.map(np.asarray, metrics)  # what the loop reads after every call
        secs.append(time.perf_counter() - start)
    first_sec, *step_secs = secs
    step_secs = [sec / updates for sec in step_secs]
    median = statistics.median(step_secs)
    samples_per_sec = case.batch * config.training.chunk_samples / median
    flop_per_sample = _flop_per_sample(model, samples)
    return TrainingRow(
        preset=config.name,
        variant=config.model.variant,
        parameters=parameters,
        precision=case.precision,
        device_kind=devices[0].device_kind,
        devices=len(devices),
        batch=case.batch,
        chunk_samples=config.training.chunk_samples,
        sample_rate_hz=config.clock.sample_rate_hz,
        steps_per_call=updates,
        compile_sec=first_sec - median * updates,
        step_secs=step_secs,
        step_sec_median=median,
        step_sec_min=min(step_secs),
        step_sec_max=max(step_secs),
        samples_per_sec=samples_per_sec,
        x_real_time=samples_per_sec / config.clock.sample_rate_hz,
        flop_per_sample=flop_per_sample,
        flop_per_sec=flop_per_sample * samples_per_sec,
        peak_flop_per_sec=peak,
        share_of_peak=flop_per_sample * samples_per_sec / peak,
        host_peak_mb=host_peak_mb(),
        device_peak_mb=device_peak_mb(devices[0]),
    )


def _config(case: TrainingCase) -> Config:
    """Return the case's config; every update is an ordinary one, in its own call or several."""
    training = dataclasses.replace(
        case.config.training,
        batch_clips=case.batch,
        precision=case.precision,
        encoder_bptt_chunks=1,
    )
    return dataclasses.replace(case.config, training=training)


def _clip_samples(config: Config) -> int:
    training, per_frame = config.training, config.clock.samples_per_video_frame
    whole = math.lcm(training.chunk_samples, per_frame)
    wanted = max(SHORTEST_CLIP_SAMPLES, training.steps_per_call * training.chunk_samples)
    return -(-wanted // whole) * whole


def no_statistics(model: ModelConfig) -> FeatureStatistics:
    """Return statistics that leave features, or the first dimensions of them, as they are."""

    count = model.principal_components

    def of(width: int) -> Statistics:
        components = None if count is None else np.eye(width, count, dtype=np.float32)
        return Statistics(np.zeros(width, np.float32), 1.0, components)

    return FeatureStatistics(of(model.appearance_dim), of(model.motion_dim))


def _clips(config: Config, samples: int, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random levels and features, and a mask without padding."""
    random = np.random.default_rng(SEED)
    levels = random.integers(0, config.model.q_levels, (clips, samples), np.uint8)
    shape = (clips, config.clock.video_frames(samples), config.model.feature_dim)
    features = random.random(shape, np.float32).astype(np.float16)
    return levels, features, np.ones((clips, samples), bool)


def _flop_per_sample(model: VideoToSound, samples: int) -> float:
    """Return the operations of one update of one clip, over its samples."""
    config = model.config
    state = jax.eval_shape(lambda: init_state(model, no_statistics(config.model)))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, 1), state.params)
    batch = jax.eval_shape(lambda: DeviceBatch(*map(jnp.asarray, _clips(config, samples, 1))))
    chunks = chunks_per_clip(config, samples)
    step = partial(train_step, model, chunks, total=lambda tree: tree)
    return product_flop(step, state, carry, batch) / samples
