"""What `benchmark.py input` measures: videos to features, and shards to batches."""

import argparse
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

from benchmarks.commands.report import machine_line, results_file, write_report
from benchmarks.machine import describe_machine
from benchmarks.table import Column, header_lines, row_line
from v2s_jax import media
from v2s_jax.cli.run import run_cli
from v2s_jax.config import PAPER, Clock, ExtractorConfig, ExtractorName
from v2s_jax.datasets import ClipDataset, ClipRecord, Metadata, batches, open_dataset
from v2s_jax.datasets.folders.decode import CLIP_VIDEO_FRAMES
from v2s_jax.datasets.locking import directory_lock
from v2s_jax.datasets.schema import FORMAT_VERSION
from v2s_jax.datasets.writer import write_dataset
from v2s_jax.errors import InputError

FLOP_PER_SAMPLE = 41_865_216
"""Of one trained sample of `paper`, forward and backward (docs/tpu.md)."""

H200_FLOP_PER_SEC = 989e12
"""Peak of one H200 in bf16 without sparsity (NVIDIA's data sheet)."""

ASSUMED_SHARE = 0.2
"""Share of the peak that training reaches: assumed, as in docs/tpu.md, until it is measured."""

TARGET = 20
"""Times what one H200 consumes: what reading should reach on two cores."""

WORKERS = (1, 2)
VIDEO_SEC = 10
VIDEO_HEIGHT_PX, VIDEO_WIDTH_PX, VIDEO_FPS = 240, 320, 25
SPARSITY = 0.79
"""Share of zeros in the random features, as in fc6 after its ReLU."""
BYTES_PER_MB = 10**6
WARM_BATCHES = 3
"""Untimed batches: those that are read while nobody takes them."""


@dataclass(frozen=True)
class InputRow:
    """What was measured with one number of workers."""

    stage: str
    workers: int
    device_kind: str
    clips: int
    """Clips of one timed run."""
    run_secs: list[float]
    clips_per_sec: float
    """Of all runs together; of extraction, whose runs are differences, of the median run."""
    mb_per_sec: float
    """Of shards read, or of video files."""
    needed_clips_per_sec: float | None
    """What one H200 consumes; None for stages that run once."""


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


def main() -> None:
    """Measure and print; the words are those that `benchmark.py input` describes."""
    args = _parser().parse_args()
    for option in ("clips", "batch", "repeats", "extractions"):
        if getattr(args, option) < 1:
            raise InputError(f"--{option} {getattr(args, option)}: must be at least 1")
    if args.videos < 0 or args.videos == 1:
        raise InputError(f"--videos {args.videos}: use 0 or at least 2, one of which is held out")
    machine = describe_machine()
    with results_file(args.json) as file, tempfile.TemporaryDirectory() as folder:
        data = _data(args.data, args.clips, Path(folder))
        samples = data.metadata["samples_max"]
        needed = H200_FLOP_PER_SEC * ASSUMED_SHARE / FLOP_PER_SAMPLE / samples
        print(
            f"one H200 training `paper`: {H200_FLOP_PER_SEC:.3g} FLOP/s x {ASSUMED_SHARE:.0%} "
            f"(assumed) / {FLOP_PER_SAMPLE:,} FLOP per sample / {samples:,} samples = {needed:.1f} "
            f"clips/s; target {TARGET} times that: {TARGET * needed:,.0f} clips/s\n"
        )
        print(*header_lines(COLUMNS), sep="\n")
        rows = []
        for row in _rows(args, data, needed, Path(folder)):
            print(row_line(COLUMNS, row), flush=True)
            rows.append(row)
        print(f"\n{machine_line(machine)}")
        if file is not None:
            write_report(file, "input", args, machine, rows=rows)
    if args.json is not None:
        print(f"{args.json}: the same figures")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="v2s benchmark input")
    parser.add_argument("--data")
    for option in ("clips", "videos", "batch", "repeats", "extractions"):
        parser.add_argument(f"--{option}", type=int, required=True)
    parser.add_argument("--json", type=Path)
    return parser


def _rows(
    args: argparse.Namespace, data: ClipDataset, needed: float, folder: Path
) -> Iterator[InputRow]:
    for workers in WORKERS:
        yield measure_reading(data, args.batch, args.repeats, workers, needed)
    if args.videos:
        videos = folder / "videos"
        write_videos(videos, args.videos)
        for workers in WORKERS:
            yield measure_extraction(
                videos, args.videos, workers, args.extractions, folder / f"out{workers}"
            )


def _data(given: str | None, clips: int, folder: Path) -> ClipDataset:
    if given is not None:
        return open_dataset(given, "train")
    made = folder / "random" / "1.0.0"
    with directory_lock(folder):
        records = (("train", record) for record in random_records(clips))
        write_dataset(made, _metadata(), ["train"], records)
    return open_dataset(made, "train")


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
    """Yield clips of the paper's length whose bytes are like those of real ones."""
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

    With two readers batches come in pairs, so clips per second are those of all timed batches.
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
    """Write videos of moving noise with a tone, as large as YouTube's small ones."""
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
    """Run `v2s prepare folder` twice a time: the second run, from the cache, extracts nothing.

    What the first one takes longer is decoding and features; starting Python and Beam, and
    writing the shards, take the same time in both. One difference says little on its own.
    """
    seconds = []
    for repeat in range(repeats):
        fresh = out / str(repeat)
        extracting = prepare_seconds(videos, fresh, workers)
        seconds.append(extracting - prepare_seconds(videos, fresh, workers))
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
    """Return how long `v2s prepare folder` takes."""
    command = [
        *(sys.executable, "-m", "v2s_jax", "prepare", "folder", str(videos)),
        *("--out", str(out), "--workers", str(workers), "--overwrite"),
    ]
    start = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        told = ended.stderr.strip().splitlines() or [f"ended with code {ended.returncode}"]
        raise InputError(f"v2s prepare folder: {told[-1]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    run_cli(main)
