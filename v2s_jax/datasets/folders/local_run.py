"""Run Beam on this machine: Ctrl-C, and a progress bar for the work of all processes."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
from tqdm import tqdm

from v2s_jax.processes import block_sigint

Result = TypeVar("Result")

POLL_SEC = 0.5
"""Interval of progress updates on a terminal."""
LOG_SEC = 5.0
"""Interval of progress lines in a log file."""


def run_interruptible(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread, so that Ctrl-C stops this process at once.

    The thread blocks SIGINT, and Beam's workers and ffmpeg inherit that. Otherwise Ctrl-C would end
    ffmpeg early, and a truncated file would be cached as a complete one.
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    with block_sigint():
        threading.Thread(target=run, daemon=True).start()
    try:
        return done.result()
    except KeyboardInterrupt:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
        raise


def count_video(folder: Path, video_frames: int) -> None:
    """Record a finished video in this thread's progress file: a line with its video frames."""
    with (folder / f"{os.getpid()}-{threading.get_ident()}").open("a") as file:
        file.write(f"{video_frames}\n")


@contextmanager
def progress_bar(folder: Path, videos: int) -> Iterator[None]:
    """Show progress, video frames per second and the time left while the block runs."""
    finished = threading.Event()
    bar = tqdm(total=videos, unit="video", desc="features", mininterval=POLL_SEC)
    start = time.monotonic()

    def update() -> None:
        texts = [path.read_text() for path in folder.iterdir()]
        counts = [int(line) for text in texts for line in text.split("\n")[:-1]]
        rate = sum(counts) / max(time.monotonic() - start, POLL_SEC)
        bar.set_postfix_str(f"{rate:.0f} video frames/s", refresh=False)
        bar.update(len(counts) - bar.n)

    def watch() -> None:
        while not finished.wait(POLL_SEC if bar.disable or bar.fp.isatty() else LOG_SEC):
            update()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
        update()
        bar.close()
