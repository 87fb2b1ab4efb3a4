"""Progress of work that other processes of this machine do: rates and the time left."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

POLL_SEC = 0.5
LINE_SEC = 5.0
"""Seconds between lines where there is no terminal: logs are for reading."""


class ProgressFile:
    """One process's count: a file with a line of video frames for each finished video."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{threading.get_ident()}"

    def add(self, video_frames: int) -> None:
        """Count one video, and the video frames that were computed for it."""
        with self._path.open("a") as file:
            file.write(f"{video_frames}\n")


def read_progress(folder: Path) -> tuple[int, int]:
    """Return the videos and video frames that all processes have counted so far."""
    texts = [path.read_text() for path in folder.iterdir()]
    lines = [int(line) for text in texts for line in text.split("\n")[:-1]]
    return len(lines), sum(lines)


@contextmanager
def shown(folder: Path, videos: int, *, is_shown: bool = True) -> Iterator[None]:
    """Show videos and video frames per second, and the time left, while the block runs."""
    if not is_shown:
        yield
        return
    ended = threading.Event()
    bar = tqdm(total=videos, unit="video", desc="features", mininterval=POLL_SEC)
    start = time.monotonic()

    def update() -> None:
        done, video_frames = read_progress(folder)
        rate = video_frames / max(time.monotonic() - start, POLL_SEC)
        bar.set_postfix_str(f"{rate:.0f} video frames/s", refresh=False)
        bar.update(done - bar.n)

    def watch() -> None:
        while not ended.wait(POLL_SEC if bar.disable or bar.fp.isatty() else LINE_SEC):
            update()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        update()
        bar.close()
