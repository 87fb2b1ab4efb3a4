"""Latency of a stream, and what refilled rows save on clips of many lengths.

A stream's blocks are held against the same clip's in one piece, by the same engine and tile, which
is what blocks of one video frame cost.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.sampling import load_model
from v2s_jax.config import Config
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.sampling import (
    GenerationOptions,
    Request,
    Sampler,
    clip_key,
    content_hash,
    generate_stream,
)
from v2s_jax.sampling.streaming import first_carry, stream

SEED = 0
RAGGED_SEC = (2.0, 10.0)
"""Lengths of the paper's cleaned clips: 2 to 10 s, drawn evenly."""


@dataclass(frozen=True)
class StreamingCase:
    """What is measured."""

    model: Config | Path
    """A config, which gets random weights, or a checkpoint."""
    batch_size: int
    engine: EngineName = "scan"
    weights: WeightFormat = "float32"

    def sampler(self) -> Sampler:
        """Return a generator as sample.py makes it, not compiled."""
        config, params = load_model(self.model)
        return Sampler(
            config, params, batch_size=self.batch_size, engine=self.engine, weights=self.weights
        )


@dataclass(frozen=True)
class StreamingRow:
    """What was measured; features were in memory."""

    preset: str
    engine: EngineName
    weight_format: WeightFormat
    batch_size: int
    """Rows computed: one, where the engine sounds the same in any tile."""
    start_sec: float
    """From the parameters to the first block, compiling or finding what was compiled."""
    first_block_ms: float
    """From the first video frame's features to its sound, program compiled."""
    block_ms_median: float
    block_ms_p99: float
    block_ms_max: float
    x_real_time: float
    x_real_time_whole: float
    """Of the same sound in one piece, not as a stream."""


@dataclass(frozen=True)
class RaggedRow:
    """The same clips with refilled rows, and a tile of similar lengths at a time."""

    preset: str
    batch_size: int
    clips: int
    samples: int
    refilled_sec: float
    tiles_sec: float


def measure_streaming(case: StreamingCase, video_frames: int) -> StreamingRow:
    """Time each block of a stream, from the features' arrival to the samples on the host."""
    load_model(case.model)
    start_frame = time.perf_counter()
    sampler = case.sampler()
    sampler.limit_batch(1)
    config, key = sampler.config, clip_key(SEED, b"clip")
    list(stream(sampler, _features(config, 2), first_carry(sampler, key)))
    start_sec = time.perf_counter() - start_frame
    features = _features(config, video_frames)
    times = [time.perf_counter()]
    for _ in stream(sampler, features, first_carry(sampler, key)):
        times.append(time.perf_counter())
    whole = time.perf_counter()
    samples = video_frames * config.clock.samples_per_video_frame
    sampler.generate([Request(key, samples, features)])
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
    """Time clips of many lengths, in one go and a tile of similar lengths at a time."""
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
    refilled = time.perf_counter()
    for first in range(0, clips, batch_size):
        sampler.generate(requests[first : first + batch_size])
    return RaggedRow(
        preset=config.name,
        batch_size=batch_size,
        clips=clips,
        samples=sum(request.samples for request in requests),
        refilled_sec=refilled - start,
        tiles_sec=time.perf_counter() - refilled,
    )


def _features(config: Config, video_frames: int) -> np.ndarray:
    shape = (video_frames, config.model.feature_dim)
    return np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)
