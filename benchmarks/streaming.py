"""`python -m benchmarks streaming`: latency of a stream, and clips of many lengths.

A stream is compared with the same clip in one piece, by the same engine at the same batch size;
clips of many lengths in continuous batching with one batch of similar lengths after the other.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from benchmarks.common import (
    check_at_least_one,
    describe_load,
    get_preset,
    output_file,
    write_report,
)
from benchmarks.machine import describe_machine
from benchmarks.sampling import load_model
from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.device import use_device
from v2s_jax.config import Config
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    GenerationOptions,
    Request,
    Sampler,
    clip_key,
    content_hash,
    generate,
    generate_stream,
)
from v2s_jax.sampling.streaming import first_carry, stream

SEED = 0
RAGGED_SEC = (2.0, 10.0)
"""Range of clip lengths: that of the paper's cleaned clips."""


@dataclass(frozen=True)
class StreamingArgs:
    """Time the blocks of a stream, and clips of 2 to 10 s in continuous batching."""

    preset: str = "demo"
    """Config to measure, with random weights."""
    checkpoint: Path | None = None
    """Measure this instead of a preset: a .safetensors file, a --workdir, or frame, seq or flow."""
    batch_size: int = DEFAULT_BATCH_SIZE
    """Clips computed at once."""
    video_frames: int = 156
    """Length of the stream."""
    clips: int = 16
    """Clips of many lengths."""
    engine: EngineName = "scan"
    """What runs the model: scan (XLA), or cpu, which `v2s build` builds."""
    weights: WeightFormat = "float32"
    """Format of the weights."""
    no_compilation_cache: bool = False
    """Compile again what an earlier run compiled: the time to the first block shows it."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    json: Path | None = None
    """File to write the figures to, as JSON."""

    def run(self) -> None:
        """Measure in this process, and print and write the figures."""
        check_at_least_one(
            batch_size=self.batch_size, video_frames=self.video_frames, clips=self.clips
        )
        model = self.checkpoint or get_preset(self.preset)
        use_device(self.device)
        if not self.no_compilation_cache:
            enable_compilation_cache()
        machine = describe_machine()
        case = StreamingCase(model, self.batch_size, self.engine, self.weights)
        with output_file(self.json) as file:
            streamed = measure_streaming(case, self.video_frames)
            ragged = measure_ragged(case, self.clips)
            _print(streamed, ragged)
            print(describe_load(machine))
            if file is not None:
                parts = {"rows": [streamed], "ragged_rows": [ragged]}
                device = jax.devices()[0].device_kind
                write_report(file, "streaming", self, machine, device, **parts)


@dataclass(frozen=True)
class StreamingCase:
    """One case to measure."""

    model: Config | Path
    """A config, for random weights, or a checkpoint."""
    batch_size: int
    engine: EngineName = "scan"
    weights: WeightFormat = "float32"

    def sampler(self) -> Sampler:
        """Return a sampler, not compiled."""
        config, params = load_model(self.model)
        return Sampler(
            config, params, batch_size=self.batch_size, engine=self.engine, weights=self.weights
        )


@dataclass(frozen=True)
class StreamingRow:
    """Figures of a stream; features are in memory."""

    preset: str
    engine: EngineName
    weight_format: WeightFormat
    batch_size: int
    """Slots: one, where the engine is batch-invariant."""
    start_sec: float
    """From parameters to the first block, compilation included unless cached."""
    first_block_ms: float
    """From the first video frame's features to its audio, program compiled."""
    block_ms_median: float
    block_ms_p99: float
    block_ms_max: float
    x_real_time: float
    x_real_time_whole: float
    """Of the same audio in one piece, not as a stream."""


@dataclass(frozen=True)
class RaggedRow:
    """The same clips in continuous batching, and in batches of similar lengths."""

    preset: str
    batch_size: int
    clips: int
    samples: int
    continuous_sec: float
    batches_sec: float


def measure_streaming(case: StreamingCase, video_frames: int) -> StreamingRow:
    """Time each block of a stream, from the features' arrival to the samples on the host."""
    load_model(case.model)  # compiles the random initialization, which is not measured
    start = time.perf_counter()
    sampler = case.sampler()
    sampler.limit_batch(1)
    config, key = sampler.config, clip_key(SEED, b"clip")
    list(stream(sampler, _features(config, 2), first_carry(sampler, key)))
    start_sec = time.perf_counter() - start
    features = _features(config, video_frames)
    times = [time.perf_counter()]
    for _ in stream(sampler, features, first_carry(sampler, key)):
        times.append(time.perf_counter())
    whole = time.perf_counter()
    samples = video_frames * config.clock.samples_per_video_frame
    generate(sampler, [Request(key, samples, features)])
    whole_sec = time.perf_counter() - whole
    block_ms = np.diff(times) * 1e3
    sound_sec = video_frames / float(config.clock.fps)
    return StreamingRow(
        preset=config.name,
        engine=case.engine,
        weight_format=case.weights,
        batch_size=sampler.batch_size,
        start_sec=start_sec,
        first_block_ms=float(block_ms[0]),
        block_ms_median=statistics.median(block_ms.tolist()),
        block_ms_p99=float(np.percentile(block_ms, 99)),
        block_ms_max=float(block_ms.max()),
        x_real_time=sound_sec / (times[-1] - times[0]),
        x_real_time_whole=sound_sec / whole_sec,
    )


def measure_ragged(case: StreamingCase, clips: int) -> RaggedRow:
    """Time clips of many lengths, in continuous batching and in batches of similar lengths."""
    sampler = case.sampler()
    config, batch_size = sampler.config, case.batch_size
    sampler.compile()
    lengths_sec = np.random.default_rng(SEED).uniform(*RAGGED_SEC, clips)
    requests = []
    for number, length_sec in enumerate(sorted(lengths_sec, reverse=True)):
        samples = config.clock.samples(float(length_sec))
        features = _features(config, config.clock.video_frames(samples))
        key = clip_key(SEED, content_hash(str(number).encode()))
        requests.append(Request(key, samples, features))
    start = time.perf_counter()
    list(generate_stream([sampler], requests, GenerationOptions()))
    end = time.perf_counter()
    for first in range(0, clips, batch_size):
        generate(sampler, requests[first : first + batch_size])
    return RaggedRow(
        preset=config.name,
        batch_size=batch_size,
        clips=clips,
        samples=sum(request.samples for request in requests),
        continuous_sec=end - start,
        batches_sec=time.perf_counter() - end,
    )


def _features(config: Config, video_frames: int) -> np.ndarray:
    shape = (video_frames, config.model.feature_dim)
    return np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)


def _print(streamed: StreamingRow, ragged: RaggedRow) -> None:
    print(
        f"stream, {streamed.preset}, {streamed.engine} engine, {streamed.weight_format}, batch "
        f"size {streamed.batch_size}: {streamed.start_sec:.1f} s from parameters to the first "
        f"block; then {streamed.first_block_ms:.0f} ms"
    )
    print(
        f"blocks: median {streamed.block_ms_median:.1f} ms, 99th percentile "
        f"{streamed.block_ms_p99:.1f} ms, max {streamed.block_ms_max:.1f} ms; "
        f"{streamed.x_real_time:.1f} x real time, in one piece {streamed.x_real_time_whole:.1f} x"
    )
    rates = ragged.samples / ragged.continuous_sec, ragged.samples / ragged.batches_sec
    print(
        f"{ragged.clips} clips of 2 to 10 s: {rates[0]:,.0f} samples/s in continuous batching, "
        f"{rates[1]:,.0f} in batches of similar lengths"
    )
