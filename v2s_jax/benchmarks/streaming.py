"""Latency of a stream, and what refilled rows save on clips of many lengths."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2s_jax.benchmarks.sampling import load_model
from v2s_jax.config import Config
from v2s_jax.generate import Generator, Options, Request, clip_key, content_hash, generate_each
from v2s_jax.generate.streaming import first_carry, stream

SEED = 0
RAGGED_SEC = (2.0, 10.0)
"""Lengths of the paper's cleaned clips: 2 to 10 s, drawn evenly."""


@dataclass(frozen=True)
class StreamingRow:
    """What was measured; features were in memory."""

    preset: str
    tile: int
    first_block_ms: float
    """From the first video frame's features to its sound, program compiled."""
    block_ms_median: float
    block_ms_max: float
    x_real_time: float


@dataclass(frozen=True)
class RaggedRow:
    """The same clips with refilled rows, and a tile at a time as before."""

    preset: str
    tile: int
    clips: int
    samples: int
    refilled_sec: float
    tiles_sec: float


def measure_streaming(model: Config | Path, tile: int, video_frames: int) -> StreamingRow:
    """Time each block of a stream, from the features' arrival to the samples on the host."""
    config, params = load_model(model)
    generator = Generator(config, params, tile=tile)
    generator.compile_for(1)
    list(stream(generator, _features(config, 1), first_carry(generator, clip_key(SEED, b"warm"))))
    times = [time.perf_counter()]
    for _ in stream(
        generator, _features(config, video_frames), first_carry(generator, clip_key(SEED, b"clip"))
    ):
        times.append(time.perf_counter())
    block_ms = np.diff(times) * 1e3
    sound_sec = video_frames / float(config.clock.fps)
    return StreamingRow(
        preset=config.name,
        tile=tile,
        first_block_ms=float(block_ms[0]),
        block_ms_median=statistics.median(block_ms.tolist()),
        block_ms_max=float(block_ms.max()),
        x_real_time=sound_sec / (times[-1] - times[0]),
    )


def measure_ragged(model: Config | Path, tile: int, clips: int) -> RaggedRow:
    """Time clips of many lengths, in one go and a tile of similar lengths at a time."""
    config, params = load_model(model)
    generator = Generator(config, params, tile=tile)
    generator.compile()
    lengths_sec = np.random.default_rng(SEED).uniform(*RAGGED_SEC, clips)
    requests = []
    for number, length_sec in enumerate(sorted(lengths_sec, reverse=True)):
        samples = config.clock.samples(float(length_sec))
        features = _features(config, config.clock.video_frames(samples))
        key = clip_key(SEED, content_hash(str(number).encode()))
        requests.append(Request(key, samples, features))
    start = time.perf_counter()
    list(generate_each([generator], requests, Options()))
    refilled = time.perf_counter()
    for first in range(0, clips, tile):
        generator.generate(requests[first : first + tile])
    return RaggedRow(
        preset=config.name,
        tile=tile,
        clips=clips,
        samples=sum(request.samples for request in requests),
        refilled_sec=refilled - start,
        tiles_sec=time.perf_counter() - refilled,
    )


def _features(config: Config, video_frames: int) -> np.ndarray:
    shape = (video_frames, config.model.feature_dim)
    return np.random.default_rng(SEED).random(shape, np.float32).astype(np.float16)
