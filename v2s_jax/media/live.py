"""Live video, and sound for a player while it is made.

Pictures of a camera are stamped with the wall clock as ffmpeg gets them. Those of a file come at
its own pace (ffmpeg's `-re`); they count from the moment at which the first one has been decoded.
"""

import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.config import Clock
from v2s_jax.errors import DecodeError, InputError
from v2s_jax.media.decode import SourceFrame, hold_frames, read_source_frames
from v2s_jax.media.probe import probe
from v2s_jax.media.process import ffmpeg, input_args
from v2s_jax.media.wav import MAX_RIFF_BYTES, NO_TAGS, wav_header
from v2s_jax.quantize import waveform_to_int16

PlayerName = Literal["ffplay", "aplay", "none"]
PLAYERS: dict[PlayerName, tuple[str, ...]] = {
    "ffplay": (
        *("-nodisp", "-autoexit", "-loglevel", "error", "-fflags", "nobuffer"),
        *("-probesize", "32", "-analyzeduration", "0", "-f", "wav", "-i", "-"),
    ),
    "aplay": ("-q", "-"),
}
"""Programs that play a WAV file from standard input as it comes, and their arguments."""
MAX_AGE_SEC = 0.25
"""Pictures of a camera that are older when they are read are left out, and their time with them
(ours): after a start or a stop of the machine, or on a slow one, all later sound would be as late.
"""

_NO_READING_AHEAD = ("-readrate_initial_burst", "0.001")
"""ffmpeg's default is half a second; it takes no 0."""
_LOW_DELAY = ("-thread_type", "slice")
"""A decoder with a thread for each frame is late by one frame for each further thread."""
_STAMPED = ("-copyts", "-use_wallclock_as_timestamps", "1", "-fflags", "nobuffer")
"""With `nobuffer` pictures that ffmpeg reads to know the format are dropped; a file needs them."""

Waveform = Float32[np.ndarray, " _"]


class LiveInput(NamedTuple):
    """What ffmpeg reads."""

    name: str
    """For messages."""
    arguments: tuple[str, ...]
    """ffmpeg's, up to `-i NAME`."""
    is_stamped: bool
    """Whether the timestamps are those of the wall clock."""
    stream: str = "0:V:0"
    """ffmpeg's stream specifier."""
    duration_sec: float | None = None
    """None: without end."""

    def shortened(self, max_sec: float) -> "LiveInput":
        """Return it with an end, at most `max_sec` from its beginning."""
        return self._replace(duration_sec=min(max_sec, self.duration_sec or max_sec))


def open_camera(device: str | None = None) -> LiveInput:
    """Return a camera; raise InputError where there is none.

    Args:
        device: A path such as /dev/video0 on Linux, a number on macOS; the first one by default.
    """
    if platform.system() == "Darwin":
        number = device or "0"
        return _device(
            f"camera {number}", f"{number}:none", "-f", "avfoundation", "-framerate", "30"
        )
    path = device or "/dev/video0"
    if not Path(path).exists():
        raise InputError(
            f"{path}: there is no such camera: connect one, name its device with --camera, or name "
            "a video file"
        )
    return _device(f"camera {path}", path, "-f", "v4l2")


def _device(name: str, url: str, *form: str) -> LiveInput:
    arguments = (*_STAMPED, *_LOW_DELAY, *form, "-i", url)
    return LiveInput(name, arguments, is_stamped=True)


def open_test_camera(duration_sec: float | None = None) -> LiveInput:
    """Return ffmpeg's test picture, of a webcam's size and rate, in the place of a camera.

    Args:
        duration_sec: After which it stops, as a camera that is disconnected.
    """
    end = "" if duration_sec is None else f":duration={duration_sec}"
    pictures = f"testsrc2=size=640x480:rate=30{end},settb=1/1000000,realtime"
    return _device("test picture", pictures, "-f", "lavfi")


def open_file(path: Path) -> LiveInput:
    """Return a video file that is read at its own pace; raise InputError as `probe`."""
    video = probe(path)
    arguments = input_args(path, "-re", *_NO_READING_AHEAD, *_LOW_DELAY)
    duration_sec = float(video.duration_sec)
    return LiveInput(str(path), arguments, False, video.stream, duration_sec)


class LiveReader:
    """Reads an input once."""

    def __init__(self, source: LiveInput, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._zero_sec = 0.0

    def shown_sec(self, video_frame: int) -> float:
        """Return when a video frame is on display: `time.time()` at the middle of its samples.

        Valid when it has come.
        """
        return self._zero_sec + float(self._clock.video_frame_time_sec(video_frame))

    def read_video_frames(
        self, height: int, width: int
    ) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the video frames as they come, each resized whole.

        Raises InputError when nothing can be decoded, or when a camera stops.
        """
        source, clock, count = self._source, self._clock, None
        if source.duration_sec is not None:
            count = max(1, clock.video_frames(clock.samples(source.duration_sec)))
        start = partial(ffmpeg, *source.arguments, source=source.name)
        with closing(read_source_frames(start, source.stream, height, width)) as frames:
            try:
                yield from islice(hold_frames(self._stamp(frames), clock), count)
            except DecodeError as error:
                raise InputError(
                    f"{source.name}: no picture can be read ({error}): check that no other program "
                    "uses it, or name a video file"
                ) from error

    def _stamp(self, frames: Iterator[SourceFrame]) -> Iterator[SourceFrame]:
        """Pass on the frames, from 0 s on, and keep when the first one was on display."""
        video_frame_sec = 1 / self._clock.fps
        end_sec = Fraction(0)  # of the frame before, plus one video frame
        zero_sec: Fraction | None = None
        for frame in frames:
            now_sec = time.time()
            if self._source.is_stamped and now_sec - frame.time_sec > MAX_AGE_SEC:
                continue
            if zero_sec is None:
                zero_sec = frame.time_sec
                self._zero_sec = float(zero_sec) if self._source.is_stamped else now_sec
            elif self._source.is_stamped and frame.time_sec - zero_sec > end_sec + MAX_AGE_SEC:
                left_out_sec = frame.time_sec - zero_sec - end_sec
                zero_sec += left_out_sec
                self._zero_sec += float(left_out_sec)
            time_sec = frame.time_sec - zero_sec
            end_sec = time_sec + video_frame_sec
            yield frame._replace(time_sec=time_sec)
        if self._source.is_stamped:
            raise InputError(f"{self._source.name}: gives no more pictures: connect it again")


def find_player(name: PlayerName | None = None) -> PlayerName:
    """Return a player that is installed: `name`, or by default the first one that is there.

    Raises InputError where there is none.
    """
    names = [name] if name else [*PLAYERS]
    for one in names:
        if one == "none" or shutil.which(one):
            return one
    raise InputError(
        f"{' and '.join(names)}: not installed: install ffmpeg, which has ffplay, or alsa-utils, "
        "or use --player none"
    )


@contextmanager
def open_player(name: PlayerName, sample_rate_hz: int) -> Iterator[Callable[[Waveform], None]]:
    """Yield a function that hands a waveform to a player; at the end wait until all is played.

    Raises InputError when the player ends early, as without a sound device.
    """
    if name == "none":
        yield lambda waveform: None
        return
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [name, *PLAYERS[name]], bufsize=0, stdin=subprocess.PIPE, stdout=log, stderr=log
        ) as process,
    ):

        def write(data: bytes) -> None:
            assert process.stdin is not None
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[process.stdin.write(rest) :]
            except BrokenPipeError as error:
                raise InputError(
                    f"{name}: ended ({_first_line(log)}): check the sound device, or use "
                    "--player none"
                ) from error

        try:
            header_bytes = len(wav_header(sample_rate_hz, 0, NO_TAGS))
            write(wav_header(sample_rate_hz, MAX_RIFF_BYTES - header_bytes, NO_TAGS))
            yield lambda waveform: write(waveform_to_int16(waveform).tobytes())
        except BaseException:
            process.kill()
            raise


def _first_line(log: IO[bytes]) -> str:
    log.seek(0)
    return next(iter(log.read().decode("utf-8", "replace").split("\n")), "") or "no message"
