"""`python -m benchmarks input`: how fast shards become batches, and videos become features.

Reading is compared with what one H200 needs while training the `paper` preset.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.common import (
    Column,
    check_at_least_one,
    describe_load,
    output_file,
    print_table,
    write_report,
)
from benchmarks.machine import BYTES_PER_MB, describe_machine
from v2s_jax import media
from v2s_jax.config import PAPER, Clock, ExtractorConfig, ExtractorName
from v2s_jax.datasets import ClipDataset, ClipRecord, Metadata, batches, open_dataset
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.writer import write_dataset
from v2s_jax.errors import InputError, require_extra
from v2s_jax.io import directory_lock

FLOP_PER_SAMPLE = 41_865_216
"""Of one sample of the `paper` preset, forward and backward (docs/tpu.md)."""

H200_FLOP_PER_SEC = 989e12
"""Peak of one H200 in bfloat16 without sparsity (NVIDIA data sheet)."""

ASSUMED_SHARE = 0.2
"""Assumed share of the peak that training reaches, as in docs/tpu.md."""

TARGET = 20
"""Times what one H200 needs: the goal for reading on two cores."""

WORKERS = (1, 2)
VIDEO_SEC = 10
VIDEO_HEIGHT_PX, VIDEO_WIDTH_PX, VIDEO_FPS = 240, 320, 25
SPARSITY = 0.79
"""Share of zeros in the random features, as in fc6 after its ReLU."""
WARM_BATCHES = 3
"""Untimed batches: they are read ahead."""


@dataclass(frozen=True)
class InputRow:
    """Figures of one stage with one number of workers."""

    stage: str
    workers: int
    device_kind: str
    clips: int
    """Clips of one timed run."""
    run_secs: list[float]
    clips_per_sec: float
    """Of all runs together; for extraction, whose runs are differences, of the median run."""
    mb_per_sec: float
    """Of shards read, or of video files."""
    needed_clips_per_sec: float | None
    """What one H200 needs; None for extraction, which runs once per dataset."""


COLUMNS = (
    Column("stage", "", lambda row: row.stage),
    Column("workers", "", lambda row: str(row.workers)),
    Column("run", "median s", lambda row: f"{statistics.median(row.run_secs):.3f}"),
    Column("run", "min s", lambda row: f"{min(row.run_secs):.3f}"),
    Column("run", "max s", lambda row: f"{max(row.run_secs):.3f}"),
    Column("total", "clips/s", lambda row: f"{row.clips_per_sec:,.2f}"),
    Column("total", "MB/s", lambda row: f"{row.mb_per_sec:,.1f}"),
    Column(
        "one H200",
        "times that",
        lambda row: (
            "-"
            if row.needed_clips_per_sec is None
            else f"{row.clips_per_sec / row.needed_clips_per_sec:.1f}"
        ),
    ),
)


@dataclass(frozen=True)
class InputArgs:
    """Measure reading shards (--data, or random ones) and extracting pixel features of videos."""

    data: str | None = None
    """Dataset to read, a folder that `v2s prepare` wrote; by default random clips."""
    clips: int = 256
    """Random clips, when --data is not given."""
    videos: int = 12
    """Videos for extraction; 0 leaves it out."""
    batch: int = 128
    """Clips in a batch."""
    repeats: int = 5
    """Timed batches."""
    extractions: int = 3
    """Timed extractions."""
    json: Path | None = None
    """File to write the figures to, as JSON."""

    def run(self) -> None:
        """Measure both stages, and print and write the figures."""
        check_at_least_one(
            clips=self.clips,
            batch=self.batch,
            repeats=self.repeats,
            extractions=self.extractions,
        )
        if self.videos < 0 or self.videos == 1:
            raise InputError(f"--videos {self.videos}: use 0 or at least 2; one is held out")
        if self.videos or self.data is None:
            require_extra("data", "tensorflow", "apache_beam")
        machine = describe_machine()
        with output_file(self.json) as file, tempfile.TemporaryDirectory() as folder:
            data = _open_data(self.data, self.clips, Path(folder))
            samples = data.metadata["samples_max"]
            needed = H200_FLOP_PER_SEC * ASSUMED_SHARE / FLOP_PER_SAMPLE / samples
            print(
                f"one H200 training `paper`: {H200_FLOP_PER_SEC:.3g} FLOP/s x {ASSUMED_SHARE:.0%} "
                f"(assumed) / {FLOP_PER_SAMPLE:,} FLOP per sample / {samples:,} samples = "
                f"{needed:.1f} clips/s; target {TARGET} times that: {TARGET * needed:,.0f} "
                "clips/s\n"
            )
            rows = list(self.measure(data, needed, Path(folder)))
            print_table(COLUMNS, rows)
            print(f"\n{describe_load(machine)}")
            if file is not None:
                write_report(file, "input", self, machine, rows[0].device_kind, rows=rows)

    def measure(self, data: ClipDataset, needed: float, folder: Path) -> Iterator[InputRow]:
        """Measure both stages with each number of workers."""
        for workers in WORKERS:
            yield measure_reading(data, self.batch, self.repeats, workers, needed)
        if self.videos:
            videos = folder / "videos"
            write_videos(videos, self.videos)
            for workers in WORKERS:
                yield measure_extraction(
                    videos, self.videos, workers, self.extractions, folder / f"out{workers}"
                )


def _open_data(path: str | None, clips: int, folder: Path) -> ClipDataset:
    if path is not None:
        return open_dataset(path, "train")
    dataset = folder / "random" / "1.0.0"
    with directory_lock(folder):
        records = (("train", record) for record in random_records(clips))
        write_dataset(dataset, _metadata(), ["train"], records)
    return open_dataset(dataset, "train")


def _metadata() -> Metadata:
    clock, model = Clock(), PAPER.model
    return Metadata(
        format_version=FORMAT_VERSION,
        extractor=PAPER.extractor,
        extraction=vars(ExtractorConfig()).copy(),
        appearance_dim=model.appearance_dim,
        motion_dim=model.motion_dim,
        sample_rate_hz=clock.sample_rate_hz,
        samples_per_video_frame=clock.samples_per_video_frame,
        samples_max=0,
        categories=["random"],
        made_by={"data_set": "random"},
    )


def random_records(clips: int) -> Iterator[ClipRecord]:
    """Yield clips of the paper's length whose bytes resemble those of real clips."""
    random = np.random.default_rng(0)
    samples = CLIP_VIDEO_FRAMES * Clock().samples_per_video_frame
    shape = (CLIP_VIDEO_FRAMES, PAPER.model.appearance_dim)
    dense = random.random(shape, np.float32)
    features = np.where(dense < SPARSITY, 0, dense).astype(np.float16)
    waveform = random.integers(-3_000, 3_000, samples).astype(np.int16)
    for clip in range(clips):
        yield ClipRecord(f"clip-{clip:05d}", "random", np.roll(waveform, clip), features, features)


def measure_reading(
    data: ClipDataset, batch: int, repeats: int, workers: int, needed: float
) -> InputRow:
    """Read batches as training does; the first ones, which are read ahead, are not timed.

    With two readers batches arrive in pairs, so the rate is that of all timed batches together.
    """
    config = replace(
        PAPER,
        extractor=cast(ExtractorName, data.metadata["extractor"]),
        training=replace(PAPER.training, batch_clips=batch),
    )
    seconds = []
    with closing(batches(data, config, 0, range(batch), readers=workers)) as stream:
        for _ in range(WARM_BATCHES):
            next(stream)
        for _ in range(repeats):
            start = time.perf_counter()
            next(stream)
            seconds.append(time.perf_counter() - start)
    clip_mb = float(data.index.length.mean()) / BYTES_PER_MB
    per_sec = batch * repeats / sum(seconds)
    return InputRow(
        "shards to batches", workers, "host", batch, seconds, per_sec, per_sec * clip_mb, needed
    )


def write_videos(folder: Path, videos: int) -> None:
    """Write videos of moving noise with a tone, at the size of small YouTube videos."""
    clock = Clock()
    random = np.random.default_rng(0)
    texture = random.integers(0, 255, (VIDEO_HEIGHT_PX, 2 * VIDEO_WIDTH_PX, 3), np.uint8)
    texture = texture // 4 + np.linspace(0, 190, 2 * VIDEO_WIDTH_PX, dtype=np.uint8)[None, :, None]
    times = np.arange(VIDEO_SEC * clock.sample_rate_hz) / clock.sample_rate_hz
    for video in range(videos):
        frames = (
            np.ascontiguousarray(np.roll(texture, shift, axis=1)[:, :VIDEO_WIDTH_PX])
            for shift in range(0, 2 * VIDEO_SEC * VIDEO_FPS, 2)
        )
        tone = 0.5 * np.sin(2 * np.pi * (300 + video) * times)
        path = folder / "noise" / f"video_{video:05d}.mp4"
        media.write_clip(
            path, frames, Fraction(VIDEO_FPS), tone.astype(np.float32), clock.sample_rate_hz
        )


def measure_extraction(videos: Path, count: int, workers: int, repeats: int, out: Path) -> InputRow:
    """Time `v2s prepare folder` with an empty cache minus with a full one, several times.

    The difference is decoding and feature extraction: starting Python and Beam, and writing
    shards, take the same time in both.
    """
    seconds = []
    for repeat in range(repeats):
        folder = out / str(repeat)  # with its own empty cache
        uncached_sec = prepare_seconds(videos, folder, workers)
        seconds.append(uncached_sec - prepare_seconds(videos, folder, workers))
    median = statistics.median(seconds)
    size = sum(path.stat().st_size for path in videos.rglob("*.mp4")) / BYTES_PER_MB
    return InputRow(
        "videos to features (pixels)",
        workers,
        "host",
        count,
        seconds,
        count / median,
        size / median,
        None,
    )


def prepare_seconds(videos: Path, out: Path, workers: int) -> float:
    """Return the seconds that `v2s prepare folder` takes."""
    command = [
        *(sys.executable, "-m", "v2s_jax", "prepare", "folder", str(videos)),
        *("--out", str(out), "--workers", str(workers), "--overwrite"),
    ]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        output = result.stderr.strip().splitlines() or [f"ended with code {result.returncode}"]
        raise InputError(f"v2s prepare folder: {output[-1]}")
    return time.perf_counter() - start
