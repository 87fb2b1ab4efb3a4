"""`python -m benchmarks input`: how fast shards become batches, and videos become features."""

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

from benchmarks.common import Row, check_at_least_one, print_table, report_file, write_report
from benchmarks.machine import BYTES_PER_MB, describe_machine
from v2s_jax import media
from v2s_jax.config import PAPER, Clock, ExtractorConfig, ExtractorName
from v2s_jax.datasets import ClipDataset, ClipRecord, Metadata, batches, open_dataset
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.writer import write_dataset
from v2s_jax.errors import InputError, require_extra
from v2s_jax.io import directory_lock

WORKERS = (1, 2)
VIDEO_SEC = 10
VIDEO_HEIGHT_PX, VIDEO_WIDTH_PX, VIDEO_FPS = 240, 320, 25
SPARSITY = 0.79
"""Share of zeros in the random features, as in fc6 after its ReLU."""
WARM_BATCHES = 3
"""Untimed batches: they are read ahead."""


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
        with report_file(self.json) as file, tempfile.TemporaryDirectory() as folder:
            data = _open_data(self.data, self.clips, Path(folder))
            rows = [measure_reading(data, self.batch, self.repeats, count) for count in WORKERS]
            if self.videos:
                videos = Path(folder) / "videos"
                write_videos(videos, self.videos)
                for workers in WORKERS:
                    out = Path(folder) / f"out{workers}"
                    rows.append(measure_extraction(videos, workers, self.extractions, out))
            print_table(rows)
            print(f"\n{machine}")
            write_report(file, "input", machine, "host", rows=rows)


def _open_data(path: str | None, clips: int, folder: Path) -> ClipDataset:
    if path is not None:
        return open_dataset(path, "train")
    dataset = folder / "random" / "1.0.0"
    clock, model = Clock(), PAPER.model
    metadata = Metadata(
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
    with directory_lock(folder):
        records = (("train", record) for record in random_records(clips))
        write_dataset(dataset, metadata, ["train"], records)
    return open_dataset(dataset, "train")


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


def measure_reading(data: ClipDataset, batch: int, repeats: int, workers: int) -> Row:
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
    return _row("shards to batches", workers, seconds, per_sec, per_sec * clip_mb)


def _row(stage: str, workers: int, secs: list[float], clips_per_sec: float, mb: float) -> Row:
    return {
        "stage": stage,
        "workers": workers,
        "run_secs": secs,
        "run_sec_median": statistics.median(secs),
        "run_sec_min": min(secs),
        "run_sec_max": max(secs),
        "clips_per_sec": clips_per_sec,
        "mb_per_sec": mb,
    }


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
        tone = (0.5 * np.sin(2 * np.pi * (300 + video) * times)).astype(np.float32)
        path = folder / "noise" / f"video_{video:05d}.mp4"
        media.write_clip(path, frames, Fraction(VIDEO_FPS), tone, clock.sample_rate_hz)


def measure_extraction(videos: Path, workers: int, repeats: int, out: Path) -> Row:
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
    sizes = [path.stat().st_size for path in videos.rglob("*.mp4")]
    mb = sum(sizes) / BYTES_PER_MB
    stage = "videos to features (pixels)"
    return _row(stage, workers, seconds, len(sizes) / median, mb / median)


def prepare_seconds(videos: Path, out: Path, workers: int) -> float:
    """Return the seconds that `v2s prepare folder` takes."""
    command = [sys.executable, "-m", "v2s_jax", "prepare", "folder", str(videos)]
    command += ["--out", str(out), "--workers", str(workers), "--overwrite"]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"v2s prepare folder: {result.stderr.strip()}")
    return time.perf_counter() - start
