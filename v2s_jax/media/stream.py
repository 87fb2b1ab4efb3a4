"""Streaming: frames from a pipe, and a wav file that is valid while it grows."""

import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import InputError, write_error
from v2s_jax.io import make_temp_file
from v2s_jax.media.decode import SCALE_FLAGS, frame_select_filter, read_frame
from v2s_jax.media.encode import open_wav
from v2s_jax.media.probe import VIDEO_STREAM, Timeline
from v2s_jax.media.process import ffmpeg
from v2s_jax.quantize import waveform_to_int16

_PIPE_OPTIONS = ("-copyts", "-protocol_whitelist", "pipe,fd")
_WAV_HEADER_BYTES = 36  # of the RIFF size that are not audio
_MAX_WAV_BYTES = 2**32 - 1 - _WAV_HEADER_BYTES  # sizes have 32 bits


class PipeReader:
    """A video from a file descriptor, if ffmpeg can read its format without seeking.

    A pipe can be read only once, so one run of ffmpeg has two outputs: the frames, and their times,
    which give the duration at the end.
    """

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._timeline = Timeline()

    @property
    def duration_sec(self) -> Fraction:
        """From the appearance of the first frame to the end of the last one; valid at the end."""
        line = self._timeline
        last_frame_sec = line.last_duration * line.tick_sec
        if last_frame_sec <= 0:  # the format has no durations: the mean of the others
            span_sec = (line.last - line.first) * line.tick_sec
            last_frame_sec = span_sec / (line.frames - 1) if span_sec else 1 / self._clock.fps
        return (line.last - line.first) * line.tick_sec + last_frame_sec

    def read_video_frames(
        self, height: int, width: int
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the video frames as they arrive, each resized whole.

        The last one may have less than a sample of audio: compare `duration_sec`. Raises InputError
        when nothing can be decoded.
        """
        times, rows = os.pipe()
        select = frame_select_filter(None, self._clock)
        arguments = (
            *(*_PIPE_OPTIONS, "-i", "pipe:0", "-map", VIDEO_STREAM),
            *("-vf", f"{select},scale={width}:{height}:flags={SCALE_FLAGS}"),
            *("-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-flush_packets", "1"),
            *("-f", "rawvideo", "pipe:1"),
            *("-map", VIDEO_STREAM, "-c", "copy", "-f", "framecrc", f"pipe:{rows}"),
        )
        try:
            with ffmpeg(*arguments, source=self._descriptor, pass_fds=(rows,)) as run:
                os.close(rows)
                rows = -1
                reader = threading.Thread(target=self._read_times, args=(times,), daemon=True)
                reader.start()
                is_empty = True
                while (frame := read_frame(run.output, height, width)) is not None:
                    is_empty = False
                    yield frame
                run.wait()
                reader.join()
                if is_empty:
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


class StreamingWav:
    """A growing mono 16-bit PCM file. Its header is valid after every write.

    The file has a temporary name until the first write: an existing file is kept until then, and
    for good when nothing is written. Raises InputError when the file exists and must not be
    replaced, cannot be written, or is full, after 37 hours at 16 kHz.
    """

    def __init__(self, path: Path, sample_rate_hz: int, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._bytes = 0
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name a file")
        if path.exists() and not overwrite:
            raise self._exists_error()
        self._temporary: Path | None
        self._temporary, descriptor = make_temp_file(path.parent, path.suffix)
        self._file = os.fdopen(descriptor, "wb")
        self._wav = open_wav(self._file, sample_rate_hz)

    def __enter__(self) -> "StreamingWav":
        return self

    def write(self, waveform: Float32[np.ndarray, " samples"]) -> None:
        """Append samples in [-1, 1]."""
        data = waveform_to_int16(waveform).tobytes()
        self._bytes += len(data)
        if self._bytes > _MAX_WAV_BYTES:
            raise InputError(f"{self._path}: a wav file has at most 4 GiB: use raw PCM, --out -")
        try:
            self._wav.writeframes(data)  # audio first, then the sizes in the header
            self._file.flush()
        except OSError as error:
            raise write_error(self._path, error.strerror) from error
        self._rename()

    def _rename(self) -> None:
        """Give the file its final name; it keeps growing under it."""
        if self._temporary is None:
            return
        try:
            if not self._overwrite:
                self._path.open("xb").close()  # fails if another process has made it meanwhile
            self._temporary.replace(self._path)
        except FileExistsError as error:
            raise self._exists_error() from error
        except OSError as error:
            raise write_error(self._path, error.strerror) from error
        self._temporary = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            failure = self._close()
            if error is None and failure is not None:
                raise write_error(self._path, failure.strerror) from failure
            if error is None:
                self._rename()
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def _close(self) -> OSError | None:
        """Close the file; return the first error, which a full disk causes here too."""
        failure = None
        for close in (self._wav.close, self._file.close):
            try:
                close()
            except OSError as error:
                failure = failure or error
        return failure

    def _exists_error(self) -> InputError:
        return InputError(f"{self._path}: already exists: use --overwrite or another --out")
