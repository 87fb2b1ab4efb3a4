"""`python -m benchmarks streaming`: latency of a stream, from picture to ear, and ragged clips.

A stream is compared with the same clip in one piece, by the same engine at the same batch size;
clips of many lengths in continuous batching with one batch of similar lengths after the other.
"""

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from benchmarks.common import (
    Row,
    check_at_least_one,
    get_preset,
    print_table,
    report_file,
    write_report,
)
from benchmarks.live import LIVE_NOTES, live_sources, measure_live
from benchmarks.machine import describe_machine
from benchmarks.sampling import load_model, random_features
from v2s_jax.cli.compilation_cache import enable_compilation_cache
from v2s_jax.cli.device import use_device
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import EngineName
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    Request,
    Sampler,
    clip_key,
    content_hash,
    generate,
)
from v2s_jax.sampling.streaming import first_carry, stream

SEED = 0
NOTES = """\
start: from parameters to the first block, compilation included unless cached.
first block: from the first video frame's features to its audio, program compiled.
whole: the same audio in one piece, not as a stream.
batches: of similar lengths, one after the other."""
RAGGED_SEC = (2.0, 10.0)
"""Range of clip lengths: that of the paper's cleaned clips."""


@dataclass(frozen=True)
class StreamingArgs:
    """Time the blocks of a stream, and clips of 2 to 10 s in continuous batching."""

    preset: str = "demo"
    """Config to measure, with random weights."""
    checkpoint: Path | None = None
    """Measure this instead of a preset: a .safetensors file, a --workdir, or a pretrained
    model."""
    batch_size: int = DEFAULT_BATCH_SIZE
    """Clips computed at once."""
    video_frames: int = 156
    """Length of the stream."""
    clips: int = 16
    """Clips of many lengths."""
    live_sec: float = 10.0
    """Length of each row from picture to ear; 0 leaves them out."""
    live_checkpoint: tuple[Path, ...] = (PRETRAINED["aligned"], PRETRAINED["real"])
    """Models for these rows, with the engine of `auto`; by default aligned, which reads pixels, and
    real, which reads controls (the semantic extractor)."""
    engine: EngineName = "scan"
    """What runs the model: scan (XLA), or cpu, which `v2s build` builds."""
    weights: WeightFormat = "float32"
    """Format of the weights."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    json: Path | None = None
    """File to write the figures to, as JSON."""

    def run(self) -> None:
        """Measure in this process, and print and write the figures."""
        check_at_least_one(
            batch_size=self.batch_size, video_frames=self.video_frames, clips=self.clips
        )
        if not (math.isfinite(self.live_sec) and self.live_sec >= 0):
            raise InputError(f"--live-sec {self.live_sec}: use 0 or more, such as 10")
        model = self.checkpoint or get_preset(self.preset)
        use_device(self.device)
        enable_compilation_cache()
        machine = describe_machine()
        with report_file(self.json) as file:
            load_model(model)  # compiles the random initialization, which is not measured
            start = time.perf_counter()
            sampler = self.sampler(model)
            sampler.limit_batch(1)
            streamed = measure_streaming(sampler, start, self.video_frames)
            ragged = measure_ragged(self.sampler(model), self.clips)
            print(f"stream, {sampler.config.name}, {self.engine} engine, {self.weights} weights\n")
            print_table([streamed])
            print(f"\n{self.clips} clips of 2 to 10 s\n")
            print_table([ragged])
            live = self.measure_live()
            print(f"\n{NOTES}\n{machine}")
            device = jax.devices()[0].device_kind
            rows = {"rows": [streamed], "ragged_rows": [ragged], "live_rows": live}
            write_report(file, "streaming", machine, device, **rows)

    def measure_live(self) -> list[Row]:
        """Measure and print the way from picture to ear, for every model and source."""
        if not self.live_sec:
            return []
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            sources = live_sources(Path(folder) / "videos")
            for checkpoint in self.live_checkpoint:
                for name, source in sources.items():
                    rows.append(measure_live(checkpoint, name, source.shortened(self.live_sec)))
        print(f"\npicture to ear, {self.live_sec:g} s\n")
        print_table(rows)
        print(f"\n{LIVE_NOTES}")
        return rows

    def sampler(self, model: Config | Path) -> Sampler:
        """Return a sampler, not compiled."""
        config, params = load_model(model)
        return Sampler(
            config, params, batch_size=self.batch_size, engine=self.engine, weights=self.weights
        )


def measure_streaming(sampler: Sampler, start: float, video_frames: int) -> Row:
    """Time each block of a stream, from the features' arrival to the samples on the host."""
    config, key = sampler.config, clip_key(SEED, b"clip")
    list(stream(sampler, random_features(config, 2), first_carry(sampler, key)))
    start_sec = time.perf_counter() - start
    features = random_features(config, video_frames)
    times = [time.perf_counter()]
    for _ in stream(sampler, features, first_carry(sampler, key)):
        times.append(time.perf_counter())
    whole = time.perf_counter()
    samples = video_frames * config.clock.samples_per_video_frame
    generate(sampler, [Request(key, samples, features)])
    whole_sec = time.perf_counter() - whole
    block_ms = np.diff(times) * 1e3
    audio_sec = video_frames / float(config.clock.fps)
    return {
        "batch_size": sampler.batch_size,
        "start_sec": start_sec,
        "first_block_ms": float(block_ms[0]),
        "block_ms_median": float(np.median(block_ms)),
        "block_ms_p99": float(np.percentile(block_ms, 99)),
        "block_ms_max": float(block_ms.max()),
        "x_real_time": audio_sec / (times[-1] - times[0]),
        "whole_x_real_time": audio_sec / whole_sec,
    }


def measure_ragged(sampler: Sampler, clips: int) -> Row:
    """Time clips of many lengths, in continuous batching and in batches of similar lengths."""
    config, batch_size = sampler.config, sampler.batch_size
    sampler.compile()
    lengths_sec = np.random.default_rng(SEED).uniform(*RAGGED_SEC, clips)
    requests = []
    for number, length_sec in enumerate(sorted(lengths_sec, reverse=True)):
        samples = config.clock.samples(float(length_sec))
        features = random_features(config, config.clock.video_frames(samples))
        key = clip_key(SEED, content_hash(str(number).encode()))
        requests.append(Request(key, samples, features))
    start = time.perf_counter()
    generate(sampler, requests)
    end = time.perf_counter()
    for first in range(0, clips, batch_size):
        generate(sampler, requests[first : first + batch_size])
    batches_sec = time.perf_counter() - end
    samples = sum(request.samples for request in requests)
    return {
        "samples": samples,
        "continuous_samples_per_sec": samples / (end - start),
        "batches_samples_per_sec": samples / batches_sec,
    }
