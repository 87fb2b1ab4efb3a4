"""`python -m benchmarks growth`: how time and memory grow with the work.

    clips      sampling of 1 to 256 clips of one length, engine and batch size of `auto`
    length     sampling of one clip of 1 s to 1 h
    batch      one step of training
    prepare    `v2s prepare folder` on videos of 10 s, by videos and processes
    gallery    retrieval: every clip under every video

Each row has its own process. A part is written when it is measured, and the page shows all parts in
the folder: they can be measured one at a time.
"""

import itertools
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import jax
import numpy as np

from benchmarks.common import (
    Row,
    check_at_least_one,
    get_preset,
    measure_cases,
    print_table,
    write_report,
)
from benchmarks.growth_page import write_page
from benchmarks.input import prepare_seconds, write_videos
from benchmarks.machine import BYTES_PER_MB, describe_machine, device_peak_mb, host_peak_mb
from benchmarks.sampling import SEED, load_model, random_features
from benchmarks.training import TrainingArgs, measure_training
from v2s_jax.config import Config
from v2s_jax.errors import InputError, require_extra
from v2s_jax.evaluation.scorer import VideoGallery
from v2s_jax.io import check_writable
from v2s_jax.sampling import Request, Sampler, choose_engine, clip_key, content_hash, generate

Part = Literal["clips", "length", "batch", "prepare", "gallery"]
POLL_SEC = 0.05
"""Interval at which the memory of processes is read."""


@dataclass(frozen=True, kw_only=True)
class GrowthArgs:
    """Measure time and memory against the amount of work."""

    out: Path
    """Folder for PART.json, and growth.md and growth.png of all parts there."""
    part: tuple[Part, ...] = ()
    """Parts to measure; by default all: clips, length, batch, prepare, gallery."""
    preset: str = "demo"
    """Sizes of the model, with random weights."""
    device: str | None = None
    """cpu, gpu or tpu; by default the best one available."""
    repeats: int = 3
    """Timed runs of a row; one of prepare."""
    clips: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Clips to sample."""
    clip_sec: float = 2.0
    """Their length, and that of clips of the gallery."""
    length_sec: tuple[float, ...] = (1.0, 10.0, 60.0, 600.0, 3600.0)
    """Lengths of the one clip."""
    batch: tuple[int, ...] = (1, 4, 16, 64)
    """Clips per step of training."""
    videos: tuple[int, ...] = (2, 4, 8, 16)
    """Videos to prepare."""
    workers: tuple[int, ...] = (1, 2)
    """Processes that prepare."""
    gallery: tuple[int, ...] = (4, 8, 16, 32)
    """Clips to rank, each also a query."""

    def run(self) -> None:
        """Measure the parts, and write them and the page."""
        parts = self.part or get_args(Part)
        check_at_least_one(
            clips=self.clips,
            batch=self.batch,
            videos=self.videos,
            workers=self.workers,
            gallery=self.gallery,
            repeats=self.repeats,
        )
        for seconds in (self.clip_sec, *self.length_sec):
            if not (math.isfinite(seconds) and seconds > 0):
                raise InputError(f"--clip-sec, --length-sec {seconds}: use numbers above 0")
        if "prepare" in parts:
            require_extra("data", "apache_beam", "psutil")
            if min(self.videos) < 2:
                raise InputError(f"--videos {min(self.videos)}: use at least 2; one is held out")
        get_preset(self.preset)
        check_writable(self.out)
        for part in parts:
            rows, machine = [], describe_machine()
            for row in measure_cases(
                partial(measure_growth, args=self), self.cases(part), self.device
            ):
                rows.append(row)
                file = self.out / f"{part}.json"
                write_report(file, f"growth: {part}", machine, row["device_kind"], rows=rows)
            print(f"\n{part}, preset {self.preset}\n")
            print_table(rows)
            write_page(self.out)
        print(f"\nwrote {self.out / 'growth.md'}")

    def cases(self, part: Part) -> list[tuple[Part, int | float, int]]:
        """Return part, amount of work, and processes of each row."""
        amounts = {
            "clips": self.clips,
            "length": self.length_sec,
            "batch": self.batch,
            "prepare": self.videos,
            "gallery": self.gallery,
        }
        workers = self.workers if part == "prepare" else (1,)
        return [(part, amount, count) for count in workers for amount in amounts[part]]


def measure_growth(case: tuple[Part, int | float, int], args: GrowthArgs) -> Row:
    """Measure a row in this process, which should be a new one: memory peaks never fall."""
    part, amount, workers = case
    config = get_preset(args.preset)
    row: Row = {part: amount}
    match part:
        case "clips":
            row |= measure_generation(config, int(amount), args.clip_sec, args.repeats)
        case "length":
            row |= measure_generation(config, 1, amount, args.repeats)
        case "batch":
            trained = measure_training(TrainingArgs().case(config, int(amount)), args.repeats)
            row |= {"sec": trained["step_sec"], "samples_per_sec": trained["samples_per_sec"]}
        case "prepare":
            row |= {"workers": workers, **measure_prepare(int(amount), workers)}
        case "gallery":
            row |= measure_gallery(config, int(amount), args.clip_sec, args.repeats)
    device = jax.devices()[0]
    row.setdefault("host_peak_mb", host_peak_mb())
    return row | {"device_peak_mb": device_peak_mb(device), "device_kind": device.device_kind}


def measure_generation(config: Config, clips: int, clip_sec: float, repeats: int) -> Row:
    """Time clips as `v2s sample` generates them; features come one at a time and are not counted.

    All their audio is kept until the end.
    """
    config, params = load_model(config)
    samples = max(1, config.clock.samples(clip_sec))
    choice = choose_engine(config, params, clips=clips, samples=clips * samples, wait=True)
    sampler = Sampler(
        *(config, params),
        batch_size=choice.batch_size,
        engine=choice.engine,
        weights=choice.weights,
    )
    sampler.compile()
    (vector,) = random_features(config, 1)
    video_frames = config.clock.video_frames(samples)

    def run() -> None:
        keys = (clip_key(SEED, content_hash(str(clip).encode())) for clip in range(clips))
        vectors = partial(itertools.repeat, vector, video_frames)
        generate(sampler, [Request(key, samples, vectors()) for key in keys])

    sec = _median_sec(run, repeats)
    return {
        "engine": choice.engine,
        "weights": choice.weights,
        "batch_size": choice.batch_size,
        "sec": sec,
        "samples_per_sec": clips * samples / sec,
    }


def measure_gallery(config: Config, clips: int, clip_sec: float, repeats: int) -> Row:
    """Time the likelihood of each of the clips under each of as many videos."""
    config, params = load_model(config)
    samples = max(config.model.big_frame_size, config.clock.samples(clip_sec))
    random = np.random.default_rng(SEED)
    features = random_features(config, clips * config.clock.video_frames(samples))
    videos = VideoGallery(config, params, features.reshape(clips, -1, config.model.feature_dim))
    levels = random.integers(0, config.model.q_levels, (clips, samples), np.uint8)
    videos.bits(levels[0])  # compiles

    def run() -> None:
        for row in levels:
            videos.bits(row)

    sec = _median_sec(run, repeats)
    return {"pairs": clips**2, "sec": sec, "samples_per_sec": clips**2 * samples / sec}


def measure_prepare(videos: int, workers: int) -> Row:
    """Time `v2s prepare folder` with an empty cache, and the memory of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder) / "videos", videos)
        with _watch_children() as peaks_mb:
            sec = prepare_seconds(Path(folder) / "videos", Path(folder) / "out", workers)
    return {"sec": sec, "videos_per_sec": videos / sec, "host_peak_mb": peaks_mb[0]}


@contextmanager
def _watch_children() -> Iterator[list[float]]:
    """Read the memory of the processes below this one until the block ends, all together."""
    import psutil  # extra `data`

    peaks_mb, is_over = [0.0], threading.Event()

    def resident_mb() -> float:
        total = 0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                total += process.memory_info().rss
        return total / BYTES_PER_MB

    def watch() -> None:
        while not is_over.wait(POLL_SEC):
            peaks_mb[0] = max(peaks_mb[0], resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks_mb
    finally:
        is_over.set()
        watcher.join()


def _median_sec(run: Callable[[], None], repeats: int) -> float:
    secs = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        secs.append(time.perf_counter() - start)
    return statistics.median(secs)
