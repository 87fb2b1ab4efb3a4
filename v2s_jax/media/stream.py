"""Streaming: frames from a pipe, and a wav file that is valid while it grows."""

import os
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import DecodeError, InputError, write_error
from v2s_jax.io import make_temp_file
from v2s_jax.media.decode import SourceFrame, hold_frames, read_source_frames
from v2s_jax.media.probe import check_duration
from v2s_jax.media.process import read_pipe
from v2s_jax.media.wav import MAX_RIFF_BYTES, NO_TAGS, Tags, wav_header, write_sizes
from v2s_jax.quantize import waveform_to_int16

_FIRST_VIDEO = "0:V:0"


class PipeReader:
    """A video from a file descriptor, if ffmpeg can read its format without seeking.

    Its first video stream: which one is marked or moves is not known in advance.
    """

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._end_sec = Fraction(0)
        self._is_complete = False

    @property
    def duration_sec(self) -> Fraction:
        """From the appearance of the first frame to the end of the last one; valid at the end."""
        return self._end_sec

    def read_video_frames(
        self, height: int, width: int
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the video frames as they arrive, each resized whole, up to the end of the video.

        Raises InputError when nothing can be decoded.
        """
        clock = self._clock
        start = partial(read_pipe, self._descriptor)
        with closing(read_source_frames(start, _FIRST_VIDEO, height, width)) as frames:
            try:
                for index, image in enumerate(hold_frames(self._measure(frames), clock)):
                    end = clock.video_frames(clock.samples(self._end_sec))
                    if self._is_complete and index >= max(1, end):
                        return
                    yield image
            except DecodeError as error:
                raise InputError(
                    f"standard input: no video that can be read from a pipe ({error}): pipe "
                    "Matroska, MPEG-TS or WebM, or name the file"
                ) from error

    def _measure(self, frames: Iterator[SourceFrame]) -> Iterator[SourceFrame]:
        """Pass on the frames, and keep the end of the last one."""
        first_sec: Fraction | None = None
        last_sec = Fraction(0)
        for count, frame in enumerate(frames):
            if first_sec is None:
                first_sec = last_sec = frame.time_sec
            last_sec = max(last_sec, frame.time_sec)
            span_sec = last_sec - first_sec
            check_duration("standard input", span_sec)
            duration_sec = frame.duration_sec
            if duration_sec <= 0:  # the format has no durations: the mean of the others
                duration_sec = span_sec / count if span_sec else 1 / self._clock.fps
            self._end_sec = span_sec + duration_sec
            yield frame
        self._is_complete = True


class StreamingWav:
    """A growing mono 16-bit PCM file. Its header is valid after every write.

    The file has a temporary name until the first write: an existing file is kept until then, and
    for good when nothing is written. Raises InputError when the file exists and must not be
    replaced, cannot be written, or is full, after 37 hours at 16 kHz.
    """

    def __init__(
        self, path: Path, sample_rate_hz: int, *, overwrite: bool, tags: Tags = NO_TAGS
    ) -> None:
        self._path = path
        self._overwrite = overwrite
        self._header = wav_header(sample_rate_hz, 0, tags)
        self._bytes = 0
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name a file")
        if path.exists() and not overwrite:
            raise self._exists_error()
        self._temporary: Path | None
        self._temporary, descriptor = make_temp_file(path.parent, path.suffix)
        self._file = os.fdopen(descriptor, "wb")
        self._file.write(self._header)  # into a buffer: a full disk is seen when it is flushed

    def __enter__(self) -> "StreamingWav":
        return self

    def write(self, waveform: Float32[np.ndarray, " samples"]) -> None:
        """Append samples in [-1, 1]."""
        data = waveform_to_int16(waveform).tobytes()
        self._bytes += len(data)
        if len(self._header) + self._bytes > MAX_RIFF_BYTES:
            raise InputError(f"{self._path}: a wav file has at most 4 GiB: use raw PCM, --out -")
        try:
            self._file.write(data)  # audio first, then the sizes in the header
            write_sizes(self._file, len(self._header), self._bytes)
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
        """Close the file; return the error, which a full disk causes here too."""
        try:
            self._file.close()
        except OSError as error:
            return error
        return None

    def _exists_error(self) -> InputError:
        return InputError(f"{self._path}: already exists: use --overwrite or another --out")
