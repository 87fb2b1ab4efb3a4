"""Draw figures in a process of their own, while this one goes on.

Importing Matplotlib and drawing are most of a second of Python, and threads of one process run
Python one at a time.
"""

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.errors import InputError
from v2s_jax.features.controls import Curves
from v2s_jax.media import NO_TAGS, Tags


class FigureProcess:
    """A process that imports Matplotlib at once, and then draws one figure after the other.

    It ends with `close`, and when this process ends, however that ends.
    """

    _shared: "FigureProcess | None" = None
    _lock = threading.Lock()

    @classmethod
    def shared(cls) -> "FigureProcess":
        """Return the one for all figures; it starts at the first call, or again if it has ended."""
        with cls._lock:
            if cls._shared is not None and cls._shared._process.poll() is not None:
                cls._end_shared()
            if cls._shared is None:
                cls._shared = cls()
                atexit.register(cls.close_shared)
            return cls._shared

    @classmethod
    def close_shared(cls) -> None:
        """End the one for all figures, if there is one."""
        with cls._lock:
            cls._end_shared()

    @classmethod
    def _end_shared(cls) -> None:
        if cls._shared is not None:
            atexit.unregister(cls.close_shared)
            cls._shared.close()
            cls._shared = None

    def __init__(self) -> None:
        # -P: not the current folder, whose files could have the names of modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "v2s_jax.figures"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        self._executor = ThreadPoolExecutor(max_workers=1)

    def close(self) -> None:
        """End the process, also while it draws; figures that wait are not drawn."""
        self._process.kill()
        self._executor.shutdown(cancel_futures=True)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # part of a figure that nobody waits for any more
                pipe.close()
        self._process.wait()

    def draw(
        self,
        path: Path,
        frames: Sequence[UInt8[np.ndarray, "height width 3"]],
        frame_times_sec: Sequence[float],
        waveform: Float32[np.ndarray, " samples"],
        sample_rate_hz: int,
        title: str,
        curves: Curves | None = None,
        tags: Tags = NO_TAGS,
    ) -> Future[None]:
        """Start to draw what `key_frame_figure` draws; the result is there when it is written.

        It raises InputError when `path` cannot be written, or the process is killed.
        """
        drawn = {"frames": frames, "frame_times_sec": frame_times_sec, "waveform": waveform}
        stated = {"sample_rate_hz": sample_rate_hz, "title": title, "tags": dict(tags)}
        # The folder of that process stays where this one began.
        picture = drawn | stated | {"path": path.absolute(), "curves": curves}
        return self._executor.submit(self._draw, path, picture)

    def _draw(self, path: Path, picture: dict[str, object]) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            pickle.dump(picture, stdin)
            stdin.flush()
            error = pickle.load(stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as ended:
            self._process.kill()
            self._process.wait()  # its pipes close a little earlier: the next figure needs another
            raise InputError(
                f"{path}: the process that draws it has ended, most likely because memory "
                "ran out: run again"
            ) from ended
        if error is not None:
            raise error
