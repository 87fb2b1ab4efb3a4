"""`python -m benchmarks training`: how fast the training step is, and in how much memory.

A case is a number of clips. Its figures are those of the training loop's compiled call on whole
clips that are on the devices already: reading, logging, evaluation and checkpoints are not
included.
"""

import dataclasses
import math
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ceilings import peak_flop_per_sec
from benchmarks.common import (
    ModelArgs,
    Row,
    check_at_least_one,
    get_preset,
    measure_cases,
    print_table,
    report_file,
    write_report,
)
from benchmarks.flop import count_matmul_flop
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb
from benchmarks.samplernn_pytorch import check_peer, compare, measure_peer, training_work
from v2s_jax.config import Config, ModelConfig, Variant
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.parallel import DataParallel, all_devices
from v2s_jax.training.state import init_state
from v2s_jax.training.step import DeviceBatch, chunks_per_clip, steps_in_call, train_step
from v2s_jax.types import FeatureStatistics, Statistics

SEED = 0  # of the clips; the speed does not depend on it
MIN_CLIP_SAMPLES = 8_192
"""8 video frames. Clips are as long as one call of the training loop needs, and at least this."""

NOTES = """\
batch: clips per step, over all devices.
compile: the first call, minus a later one.
step: forward pass, backward pass and Adam on one chunk of every clip, without compilation; median.
samples per sec: of all clips together.
product tflops: 10^12 operations per second of the matrix products alone, counted in the program.
peak tflops: of the fastest square product in the same precision, measured just before.
peak mb: of the case's process, compilation included; "-" where the device keeps no count."""


@dataclass(frozen=True, kw_only=True)
class TrainingArgs(ModelArgs):
    """Measure the training step: compilation, speed, share of the device's peak, and memory."""

    preset: str = "paper"
    """Config to measure."""
    variant: Variant | None = None
    """Of the model; by default the preset's. samplernn-pytorch is unconditional."""
    batch: tuple[int, ...] = ()
    """Clips per step; by default the preset's. More values make more rows."""

    def run(self) -> None:
        """Measure every batch, and print and write the figures."""
        check_at_least_one(repeats=self.repeats, batch=self.batch)
        config = get_preset(self.preset)
        if self.variant is not None:
            model = dataclasses.replace(config.model, variant=self.variant)
            config = dataclasses.replace(config, model=model)
        configs = [self.case(config, batch) for batch in self.batch or (None,)]
        check_peer(self, config)
        machine = describe_machine()
        with report_file(self.json) as file:
            rows, peer_rows = [], []
            measure = partial(measure_training, repeats=self.repeats)
            for row in measure_cases(measure, configs, self.device):
                rows.append(row)
                work = training_work(config, self.precision)
                # Right after our row, under the same load.
                peer_rows += measure_peer(self, config, work, [row["batch"]], row["device_kind"])
                parts = {"rows": rows, "peer_rows": peer_rows}
                write_report(file, "training", machine, row["device_kind"], **parts)
            print(
                f"training, preset {config.name}, variant {config.model.variant}, chunks of "
                f"{config.training.chunk_samples} samples, {self.repeats} calls, precision "
                f"{self.precision}\n"
            )
            print_table(rows)
            if peer_rows:
                ours = [(row["batch"], "v2s_jax", row["samples_per_sec"]) for row in rows]
                print(f"\n{compare(peer_rows, ours)}")
            print(f"\n{NOTES}\n{machine}")

    def case(self, config: Config, batch: int | None) -> Config:
        """Return the config of a case, without longer encoder windows: all steps cost the same."""
        training = dataclasses.replace(
            config.training,
            batch_clips=batch or config.training.batch_clips,
            precision=self.precision,
            encoder_bptt_chunks=1,
        )
        return dataclasses.replace(config, training=training)


def measure_training(config: Config, repeats: int) -> Row:
    """Measure one case in this process, which should be a new one: memory peaks never fall.

    Raises InputError when the clips cannot be split over the devices.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    training = config.training
    samples = clip_samples(config)
    steps = steps_in_call(config, samples)
    model = VideoToSound(config, training.precision)
    devices = all_devices()
    parallel = DataParallel(model, steps, devices)
    state = init_state(model, identity_statistics(config.model))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    carry = initial_carry(model, state.params, training.batch_clips)
    on_host = jax.tree.map(np.array, (state, carry))
    peak = peak_flop_per_sec(training.precision) * len(devices)
    state, carry = parallel.replicate(on_host[0]), parallel.shard(on_host[1])
    batch = DeviceBatch(*parallel.shard(_clips(config, samples, training.batch_clips)))

    secs = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        state, carry, metrics = parallel(state, carry, batch)
        jax.tree.map(np.asarray, metrics)  # what the loop reads after every call
        secs.append(time.perf_counter() - start)
    first_sec, *call_secs = secs
    call_sec = statistics.median(call_secs)
    samples_per_sec = training.batch_clips * training.chunk_samples * steps / call_sec
    flop_per_sec = flop_per_sample(model, samples) * samples_per_sec
    return {
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "parameters": parameters,
        "batch": training.batch_clips,
        "steps_per_call": steps,
        "compile_sec": first_sec - call_sec,
        "step_secs": [sec / steps for sec in call_secs],
        "step_sec": call_sec / steps,
        "samples_per_sec": samples_per_sec,
        "product_tflops": flop_per_sec / 1e12,
        "peak_tflops": peak / 1e12,
        "share_of_peak": flop_per_sec / peak,
        "host_peak_mb": host_peak_mb(),
        "device_peak_mb": device_peak_mb(devices[0]),
    }


def clip_samples(config: Config) -> int:
    """Return the length of the clips: that of one call, in whole chunks and video frames."""
    training, per_frame = config.training, config.clock.samples_per_video_frame
    multiple = math.lcm(training.chunk_samples, per_frame)
    min_samples = max(MIN_CLIP_SAMPLES, training.steps_per_call * training.chunk_samples)
    return -(-min_samples // multiple) * multiple


def identity_statistics(model: ModelConfig) -> FeatureStatistics:
    """Return statistics that leave features, or their first components, unchanged."""
    count = model.principal_components

    def identity(width: int) -> Statistics:
        components = None if count is None else np.eye(width, count, dtype=np.float32)
        return Statistics(np.zeros(width, np.float32), 1.0, components)

    return FeatureStatistics(identity(model.appearance_dim), identity(model.motion_dim))


def _clips(config: Config, samples: int, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random levels and features, and a mask without padding."""
    random = np.random.default_rng(SEED)
    levels = random.integers(0, config.model.q_levels, (clips, samples), np.uint8)
    shape = (clips, config.clock.video_frames(samples), config.model.feature_dim)
    features = random.random(shape, np.float32).astype(np.float16)
    return levels, features, np.ones((clips, samples), bool)


def step_shapes(model: VideoToSound, samples: int, clips: int) -> tuple[Any, Any, DeviceBatch]:
    """Return the shapes of the state, the carry and a batch."""
    config = model.config
    state = jax.eval_shape(lambda: init_state(model, identity_statistics(config.model)))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, clips), state.params)
    features = (clips, config.clock.video_frames(samples), config.model.feature_dim)
    shape: Any = jax.ShapeDtypeStruct
    batch = DeviceBatch(
        shape((clips, samples), jnp.uint8),
        shape(features, jnp.float16),
        shape((clips, samples), bool),
    )
    return state, carry, batch


def flop_per_sample(model: VideoToSound, samples: int) -> float:
    """Count the operations of one step of one clip, per sample."""
    chunks = chunks_per_clip(model.config, samples)
    step = partial(train_step, model, chunks, all_reduce_sum=lambda tree: tree)
    return count_matmul_flop(step, *step_shapes(model, samples, 1)) / samples
