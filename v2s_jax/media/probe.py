"""Measure a video file: duration, size, codec, whether there is audio.

Three short runs of ffmpeg. One decodes the first frame: its time, its size after rotation, the
frame rate. One copies packets without decoding and reads their display times, about a hundred times
faster than decoding. The whole file is decoded only where packets are not enough: corrupt data, no
display times (raw streams, some AVI and MPEG files), GIF.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media.process import CORRUPTION, SOURCE_OPTIONS, ffmpeg, url

VIDEO_STREAM = "0:V:0"
"""The first video stream that is not an attached image such as cover art."""

_TO_ROWS = ("-f", "framecrc", "-")
_DECODED_TO_ROWS = (
    # A wrapped frame is passed by reference: no pixels are converted or summed.
    *("-c:v", "wrapped_avframe", "-fps_mode", "passthrough", "-enc_time_base", "demux"),
    *_TO_ROWS,
)
_TIME_BASE = re.compile(rb"#tb 0: (\d+)/(\d+)")
# stream, decoding time, display time, duration, size, checksum, and flags unless they are 1
_ROW = re.compile(rb"0, *-?\d+, *(-?\d+), *(\d+), *\d+, *\w+(?:, F=0x([0-9A-F]+))?")
_NO_TIME = -(2**63)  # AV_NOPTS_VALUE
_CORRUPT, _DISCARD = 2, 4  # AV_PKT_FLAG_*

_CONTAINER = re.compile(r"\[info\] Input #0, ([\w,]+), from ")
_AUDIO = re.compile(r"\[info\]   Stream #0:\d+\S*: Audio: ")
_CODEC = re.compile(r"\[info\]   Stream #0:\d+ -> #0:0 \((\w+)")
_RATE = re.compile(r"config in time_base: .* frame_rate: (\d+)/(\d+)")
_SHAPE = re.compile(r" n: *0 pts: .* sar:(\d+)/(\d+) s:(\d+)x(\d+)")

_ROUNDED_TICK_SEC = Fraction(1, 1_000)  # Matroska, FLV and ASF round times to 1 ms
_TEXT_CODECS = {"ansi", "bintext", "idf", "xbin"}  # ffmpeg "plays" text files of some names

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Suffixes that count as a video in a folder; `probe` checks the content."""


@dataclass(frozen=True)
class Video:
    """What `probe` found."""

    path: Path
    duration_sec: Fraction
    """From the appearance of the first frame to the end of the last one, without audio."""
    width: int
    """Width as displayed: after rotation, in square pixels."""
    height: int
    """Height as displayed: after rotation, in square pixels."""
    codec: str
    """ffmpeg's name of the video codec."""
    has_audio: bool
    """Whether there is an audio stream."""
    warnings: tuple[str, ...]
    """Warnings for the user: one line each, naming the file."""
    first_frame_sec: Fraction
    """Timestamp of the first frame in the file."""


@dataclass
class Timeline:
    """Display times of the frames of one stream, in ticks of `tick_sec`."""

    tick_sec: Fraction = Fraction(0)
    frames: int = 0
    first: int = 0
    last: int = 0
    last_duration: int = 0
    complete: bool = True
    """False when a frame has no display time or is marked as corrupt."""

    @property
    def first_sec(self) -> Fraction:
        """Timestamp of the first frame."""
        return self.first * self.tick_sec

    def read(self, rows: Iterable[bytes]) -> None:
        """Add rows of the framecrc format, one frame each."""
        for row in rows:
            if match := _TIME_BASE.match(row):
                self.tick_sec = Fraction(int(match[1]), int(match[2]))
            elif match := _ROW.match(row):
                self._add(int(match[1]), int(match[2]), int(match[3] or b"1", 16))

    def _add(self, time: int, duration: int, flags: int) -> None:
        if flags & _DISCARD:  # cut off by an edit list
            return
        if time == _NO_TIME or flags & _CORRUPT:
            self.complete = False
            return
        if not self.frames or time < self.first:
            self.first = time
        if not self.frames or time >= self.last:
            self.last, self.last_duration = time, duration
        self.frames += 1


def probe(path: Path) -> Video:
    """Measure a video file.

    A corrupt or truncated file is measured by what can be decoded, with a warning. There is no
    warning where the format hides the corruption: a cut at the end of MPEG-TS, Ogg or ASF, wrong
    bits inside a frame.

    Args:
        path: A file of any container and codec that ffmpeg reads.

    Raises:
        InputError: The file is not a video with at least one frame.
    """
    _check_is_file(path)
    video, container, frame_sec = _read_header(path)
    timeline, corruption = _read_timeline(path, container)
    duration_sec = _duration_sec(timeline, video.first_frame_sec, container, frame_sec)
    if corruption is None and container == "avi":
        corruption = _missing_riff_bytes(path)
    warnings = []
    if corruption is not None:
        warnings.append(
            f"{path}: corrupt or cut off ({corruption}): using the {timeline.frames} frames "
            f"({float(duration_sec):.3f} s) that can be read"
        )
    if timeline.frames == 1:
        warnings.append(f"{path}: has one frame only, shown for {float(duration_sec):.3f} s")
    return replace(video, duration_sec=duration_sec, warnings=tuple(warnings))


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder: give a video file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a regular file: give a video file")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: is empty: copy or record it again")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: check the path") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the file") from error


def _read_header(path: Path) -> tuple[Video, str, Fraction | None]:
    """Return what the first frame shows of a video, the container, and the time of one frame."""
    timeline = Timeline()
    source = (*SOURCE_OPTIONS, "-i", url(path), "-map", VIDEO_STREAM, "-frames:v", "1")
    target = ("-vf", "showinfo=checksum=0", *_DECODED_TO_ROWS)
    with ffmpeg(*source, *target, log_level="info") as run:
        timeline.read(run.output)
        run.wait()
        container, codec = run.search(_CONTAINER), run.search(_CODEC)
        rate, shape, audio = run.search(_RATE), run.search(_SHAPE), run.search(_AUDIO)
        reason = run.first_error()
    if container is None:
        raise InputError(
            f"{path}: is not a video that ffmpeg can read ({reason}): give an intact video file"
        )
    if codec is None:
        raise InputError(f"{path}: has no video stream: give a file with moving images")
    if codec[1] in _TEXT_CODECS:
        raise InputError(f"{path}: is text, not a video: give a video file")
    if shape is None or not timeline.frames:
        raise InputError(
            f"{path}: no frame can be decoded ({reason or 'no data'}): copy or record it again"
        )
    pixel_width, pixel_height, width, height = (int(group) for group in shape.groups())
    if pixel_width and pixel_height:
        width = max(1, round(Fraction(width * pixel_width, pixel_height)))
    video = Video(
        path=path,
        duration_sec=Fraction(0),
        width=width,
        height=height,
        codec=codec[1],
        has_audio=audio is not None,
        warnings=(),
        first_frame_sec=timeline.first_sec,
    )
    frame_sec = Fraction(int(rate[2]), int(rate[1])) if rate and int(rate[1]) else None
    return video, container[1], frame_sec


def _read_timeline(path: Path, container: str) -> tuple[Timeline, str | None]:
    """Return the times of the frames and, for a corrupt file, ffmpeg's message about it."""
    packets, corruption = _read_times(path, "-c", "copy", *_TO_ROWS)
    if packets.complete and packets.frames and corruption is None and container != "gif":
        return packets, None  # only decoding shows that a GIF is cut off
    frames, decoding_corruption = _read_times(path, *_DECODED_TO_ROWS)
    if not frames.frames:
        raise InputError(f"{path}: changed while it was read: try again")
    return frames, corruption or decoding_corruption


def _read_times(path: Path, *target: str) -> tuple[Timeline, str | None]:
    timeline = Timeline()
    with ffmpeg(*SOURCE_OPTIONS, "-i", url(path), "-map", VIDEO_STREAM, *target) as run:
        timeline.read(run.output)
        run.wait()
        return timeline, run.first_error(CORRUPTION)


def audio_start_sec(video: Video) -> Fraction | None:
    """Return the time from the first frame to the first audio; None when none can be decoded."""
    timeline = Timeline()
    source = (*SOURCE_OPTIONS, "-i", url(video.path), "-map", "0:a:0", "-frames:a", "1")
    with ffmpeg(*source, *_TO_ROWS) as run:
        timeline.read(run.output)
        run.wait()
    return timeline.first_sec - video.first_frame_sec if timeline.frames else None


def _duration_sec(
    timeline: Timeline, first_frame_sec: Fraction, container: str, frame_sec: Fraction | None
) -> Fraction:
    """Return the time from the appearance of the first frame to the end of the last one."""
    last_frame_sec = timeline.last_duration * timeline.tick_sec
    if last_frame_sec <= 0 or container == "avi":
        # AVI stores no durations: ffmpeg reports one tick, whatever the frame rate.
        last_frame_sec = frame_sec or 1 / Clock().fps
    measured = timeline.last * timeline.tick_sec + last_frame_sec - first_frame_sec
    if frame_sec and timeline.tick_sec == _ROUNDED_TICK_SEC:
        # The rate is constant if only the rounding of times makes a difference.
        constant = timeline.frames * frame_sec
        if abs(measured - constant) <= _ROUNDED_TICK_SEC:
            return constant
    return measured


def _missing_riff_bytes(path: Path) -> str | None:
    """Say how many bytes are missing from the first list of an AVI: ffmpeg does not."""
    with path.open("rb") as file:
        header = file.read(8)
    missing = 8 + int.from_bytes(header[4:8], "little") - path.stat().st_size
    return f"{missing} bytes are missing" if missing > 0 else None
