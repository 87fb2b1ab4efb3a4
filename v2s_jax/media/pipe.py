"""Pictures from a pipe, as far as ffmpeg can read the format without going back.

Nothing can be asked twice of a pipe. The pictures come from one output of ffmpeg, on the clock as
those of a file; their times, which tell the length at the end, from a second one.
"""

import os
import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media.decode import SCALING, frame_select_filter, read_picture
from v2s_jax.media.probe import VIDEO_STREAM, Timeline
from v2s_jax.media.process import ffmpeg

_PIPE_OPTIONS = ("-copyts", "-protocol_whitelist", "pipe,fd")


class PipeReader:
    """A video that comes through a file descriptor; it can be read once."""

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._timeline = Timeline()

    @property
    def duration_sec(self) -> Fraction:
        """The time from the first picture's appearance to the last one's end, when all is read."""
        line = self._timeline
        last_sec = line.last_duration * line.tick_sec
        if last_sec <= 0:  # the format tells no durations: as long as the others
            shown = (line.last - line.first) * line.tick_sec
            last_sec = shown / (line.pictures - 1) if shown else 1 / self._clock.fps
        return (line.last - line.first) * line.tick_sec + last_sec

    def read_video_frames(
        self, height: int, width: int
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Give the picture of each video frame as it comes, resized whole.

        The last one may be of a video frame that has less than a sample; `duration_sec` tells.
        Raises InputError when nothing can be decoded.
        """
        times, rows = os.pipe()
        filters = f"{frame_select_filter(None, self._clock)},scale={width}:{height}:flags={SCALING}"
        arguments = (
            *(*_PIPE_OPTIONS, "-i", "pipe:0", "-map", VIDEO_STREAM, "-vf", filters),
            *("-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-flush_packets", "1"),
            *("-f", "rawvideo", "pipe:1"),
            *("-map", VIDEO_STREAM, "-c", "copy", "-f", "framecrc", f"pipe:{rows}"),
        )
        try:
            with ffmpeg(*arguments, source=self._descriptor, pass_on=(rows,)) as run:
                os.close(rows)
                rows = -1
                reader = threading.Thread(target=self._read_times, args=(times,), daemon=True)
                reader.start()
                held = 0
                while (picture := read_picture(run.output, height, width)) is not None:
                    held += 1
                    yield picture
                run.end()
                reader.join()
                if not held:
                    raise InputError(
                        f"standard input: no video that can be read from a pipe "
                        f"({run.first_error() or 'no data'}): pipe Matroska, MPEG-TS or WebM, or "
                        "name the file"
                    )
        finally:
            if rows >= 0:
                os.close(rows)

    def _read_times(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as rows:
            self._timeline.read(rows)
