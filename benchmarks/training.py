"""`python -m benchmarks training`: how fast the training step is, and in how much memory.

A case is a config and a number of clips. Its figures are those of the training loop's compiled
call on whole clips that are on the devices already: reading, logging, evaluation and checkpoints
are not included.
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
import tyro

from benchmarks.ceilings import peak_flop_per_sec
from benchmarks.common import (
    BenchmarkArgs,
    Column,
    PeerArgs,
    check_at_least_one,
    describe_load,
    format_mb,
    format_share,
    get_preset,
    measure_cases,
    output_file,
    print_table,
    write_report,
)
from benchmarks.flop import count_matmul_flop
from benchmarks.machine import describe_machine, device_peak_mb, host_peak_mb, wrap_memory_errors
from benchmarks.samplernn_pytorch import (
    Peer,
    PeerTrainingRow,
    PeerTrainingWork,
    measure_peer_training,
    training_work,
)
from v2s_jax.config import Config, ModelConfig, Precision, Variant
from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.parallel import DataParallel, all_devices
from v2s_jax.training.state import init_state
from v2s_jax.training.step import (
    DeviceBatch,
    chunks_per_clip,
    steps_in_call,
    train_step,
)
from v2s_jax.types import FeatureStatistics, Statistics

SEED = 0  # of the clips; the speed does not depend on it
MIN_CLIP_SAMPLES = 8_192
"""8 video frames. Clips are as long as one call of the training loop needs, and at least this."""
CPU = "cpu"

COLUMNS = (
    Column("batch", "clips", lambda row: str(row.batch)),
    Column("compile", "s", lambda row: f"{row.compile_sec:.1f}"),
    Column("step", "median s", lambda row: f"{row.step_sec_median:.3f}"),
    Column("step", "min s", lambda row: f"{row.step_sec_min:.3f}"),
    Column("step", "max s", lambda row: f"{row.step_sec_max:.3f}"),
    Column("trained", "samples/s", lambda row: f"{row.samples_per_sec:,.0f}"),
    Column("trained", "x real time", lambda row: f"{row.x_real_time:.3f}"),
    Column("products", "TFLOP/s", lambda row: f"{row.flop_per_sec / 1e12:.4g}"),
    Column("peak", "TFLOP/s", lambda row: f"{row.peak_flop_per_sec / 1e12:.4g}"),
    Column("share", "of peak", lambda row: format_share(row.share_of_peak)),
    Column("host", "peak MB", lambda row: format_mb(row.host_peak_mb)),
    Column("device", "peak MB", lambda row: format_mb(row.device_peak_mb)),
)
PEER_COLUMNS = (
    Column("batch", "clips", lambda pair: str(pair[1].batch)),
    Column("step", "median s", lambda pair: f"{pair[1].step_sec_median:.3f}"),
    Column("trained", "samples/s", lambda pair: f"{pair[1].samples_per_sec:,.0f}"),
    Column(
        "v2s_jax",
        "times that",
        lambda pair: f"{pair[0].samples_per_sec / pair[1].samples_per_sec:.2f}",
    ),
)
"""Of a pair: our row, and that of samplernn-pytorch."""

NOTES = """\
step: forward pass, backward pass and Adam on one chunk of every clip, without compilation.
products: operations of the matrix products alone, counted in the program.
peak: the fastest square product in the same precision, measured just before.
peak MB: of the case's process, compilation included; "-" where the device keeps no count."""


@dataclass(frozen=True, kw_only=True)
class TrainingArgs(PeerArgs, BenchmarkArgs):
    """Measure the training step: compilation, speed, share of the device's peak, and memory."""

    preset: str = "paper"
    """Config to measure."""
    variant: Variant | None = None
    """Of the model; by default the preset's. samplernn-pytorch is unconditional."""
    batch: tyro.conf.UseAppendAction[tuple[int, ...]] = ()
    """Clips per step; by default the preset's. Repeat the option for more rows."""

    def run(self) -> None:
        """Measure every batch, and print and write the figures."""
        config = get_preset(self.preset)
        model = dataclasses.replace(config.model, variant=self.variant or config.model.variant)
        config = dataclasses.replace(config, model=model)
        args = dataclasses.replace(
            self, variant=model.variant, batch=self.batch or (config.training.batch_clips,)
        )
        cases = [TrainingCase(config, batch, args.repeats, args.precision) for batch in args.batch]
        peer = None if args.peer is None else args.check_peer(cases)
        machine = describe_machine()
        with output_file(args.json) as file:
            rows, peer_rows = [], []
            measured = measure_cases(measure_training, cases, args.device)
            for case, row in zip(cases, measured, strict=True):
                rows.append(row)
                if peer:
                    platform = CPU if row.device_kind == CPU else "gpu"
                    peer_rows.append(measure_peer_training(peer, case.peer_work(platform)))
            _print(rows, peer_rows)
            print(describe_load(machine))
            if file is not None:
                parts = {"rows": rows, "peer_rows": peer_rows}
                write_report(file, "training", args, machine, rows[0].device_kind, **parts)

    def check_peer(self, cases: "list[TrainingCase]") -> Peer:
        """Return the peer; raises InputError when it cannot do the work."""
        assert self.peer is not None
        peer = Peer(self.peer, self.peer_python)
        for case in cases:
            case.peer_work(CPU)
        if self.device == "tpu":
            raise InputError("--peer: samplernn-pytorch runs on CPU and GPU: leave it out on a TPU")
        return peer


@dataclass(frozen=True)
class TrainingCase:
    """One case to measure."""

    config: Config
    batch: int
    """Clips per step, over all devices."""
    repeats: int
    """Timed calls."""
    precision: Precision

    def __post_init__(self) -> None:
        check_at_least_one(batch=self.batch, repeats=self.repeats)

    def peer_work(self, platform: str) -> PeerTrainingWork:
        """Return the same work for samplernn-pytorch."""
        return training_work(self.config, self.batch, self.repeats, self.precision, platform)


@dataclass(frozen=True)
class TrainingRow:
    """Figures of one case."""

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
    """The first call, minus a later one."""
    step_secs: list[float]
    """Seconds per step of each timed call."""
    step_sec_median: float
    step_sec_min: float
    step_sec_max: float
    samples_per_sec: float
    """Of all clips together."""
    x_real_time: float
    flop_per_sample: float
    """Of the matrix products of a step, forward and backward, from its trace."""
    flop_per_sec: float
    peak_flop_per_sec: float
    """The fastest square product in the same precision, on all devices."""
    share_of_peak: float
    host_peak_mb: float
    """Resident memory of the case's process: interpreter, JAX and compilation included."""
    device_peak_mb: float | None
    """Of JAX's allocator on the first device; None on a CPU, where it keeps no count."""


def measure_training(case: TrainingCase) -> TrainingRow:
    """Measure one case in this process, which should be a new one: memory peaks never fall.

    Raises InputError when the clips cannot be split over the devices or memory runs out.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program is not compiled
    with wrap_memory_errors(f"batch {case.batch}", "use a smaller --batch"):
        return _measure(case)


def _measure(case: TrainingCase) -> TrainingRow:
    config = _config(case)
    samples = _clip_samples(config)
    steps = steps_in_call(config, samples)
    model = VideoToSound(config, case.precision)
    devices = all_devices()
    parallel = DataParallel(model, steps, devices)
    state = init_state(model, identity_statistics(config.model))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    on_host = jax.tree.map(np.array, (state, initial_carry(model, state.params, case.batch)))
    peak = peak_flop_per_sec(case.precision) * len(devices)
    state, carry = parallel.replicate(on_host[0]), parallel.shard(on_host[1])
    batch = DeviceBatch(*parallel.shard(_clips(config, samples, case.batch)))

    secs = []
    for _ in range(1 + case.repeats):
        start = time.perf_counter()
        state, carry, metrics = parallel(state, carry, batch)
        jax.tree.map(np.asarray, metrics)  # what the loop reads after every call
        secs.append(time.perf_counter() - start)
    first_sec, *step_secs = secs
    step_secs = [sec / steps for sec in step_secs]
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
        steps_per_call=steps,
        compile_sec=first_sec - median * steps,
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
    """Return the config of the case, without longer encoder windows: all steps cost the same."""
    training = dataclasses.replace(
        case.config.training,
        batch_clips=case.batch,
        precision=case.precision,
        encoder_bptt_chunks=1,
    )
    return dataclasses.replace(case.config, training=training)


def _clip_samples(config: Config) -> int:
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


def _flop_per_sample(model: VideoToSound, samples: int) -> float:
    """Count the operations of one step of one clip, per sample."""
    config = model.config
    state = jax.eval_shape(lambda: init_state(model, identity_statistics(config.model)))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, 1), state.params)
    batch = jax.eval_shape(lambda: DeviceBatch(*map(jnp.asarray, _clips(config, samples, 1))))
    chunks = chunks_per_clip(config, samples)
    step = partial(train_step, model, chunks, all_reduce_sum=lambda tree: tree)
    return count_matmul_flop(step, state, carry, batch) / samples


def _print(rows: list[TrainingRow], peer_rows: list[PeerTrainingRow]) -> None:
    first = rows[0]
    print(
        f"training, preset {first.preset}, variant {first.variant} ({first.parameters:,} "
        f"parameters), chunks of {first.chunk_samples} samples, {first.steps_per_call} steps per "
        f"call, {len(first.step_secs)} calls, precision {first.precision}, device "
        f"{first.devices} x {first.device_kind}\n"
    )
    print_table(COLUMNS, rows)
    print(f"\n{NOTES}")
    if peer_rows:
        peer = peer_rows[0]
        print(
            f"\nsamplernn-pytorch at the same sizes, without video ({peer.parameters:,} "
            f"parameters), PyTorch {peer.torch}, {peer.threads} threads\n"
        )
        print_table(PEER_COLUMNS, zip(rows, peer_rows, strict=True))
        print()
