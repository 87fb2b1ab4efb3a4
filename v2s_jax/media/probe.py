"""Find out what a video file holds.

Three short runs of ffmpeg. One decodes the first picture: its time, its size after rotation, the
frame rate. One copies packets without decoding and reads their display times: about a hundred
times faster than decoding. Only where packets do not tell (damage, no display times as in raw
streams and in some AVI and MPEG files, GIF) is the whole file decoded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media.process import SOURCE_OPTIONS, Run, ffmpeg, url

VIDEO_STREAM = "0:V:0"
"""The first video stream that is not an attached picture such as cover art."""

_TO_ROWS = ("-f", "framecrc", "-")
_DECODED_TO_ROWS = (
    # A wrapped picture is passed by reference: no pixels are converted or summed.
    *("-c:v", "wrapped_avframe", "-fps_mode", "passthrough", "-enc_time_base", "demux"),
    *_TO_ROWS,
)
_TIME_BASE = re.compile(rb"#tb 0: (\d+)/(\d+)")
# stream, decoding time, display time, duration, size, checksum, and flags unless they are 1
_ROW = re.compile(rb"0, *-?\d+, *(-?\d+), *(\d+), *\d+, *\w+(?:, F=0x([0-9A-F]+))?")
_NO_TIME = -(2**63)  # AV_NOPTS_VALUE
_CORRUPT, _DISCARD = 2, 4  # AV_PKT_FLAG_*

_CONTAINER = re.compile(r"\[info\] Input #0, ([\w,]+), from ")
_SOUND = re.compile(r"\[info\]   Stream #0:\d+\S*: Audio: ")
_CODEC = re.compile(r"\[info\]   Stream #0:\d+ -> #0:0 \((\w+)")
_RATE = re.compile(r"config in time_base: .* frame_rate: (\d+)/(\d+)")
_SHAPE = re.compile(r" n: *0 pts: .* sar:(\d+)/(\d+) s:(\d+)x(\d+)")

_ROUNDED_TICK_SEC = Fraction(1, 1_000)  # Matroska, FLV and ASF round times to 1 ms
_TEXT_CODECS = {"ansi", "bintext", "idf", "xbin"}  # ffmpeg "plays" text files of some names


VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""What counts as a video in a folder; what a file holds is found out when it is read."""


@dataclass(frozen=True)
class Video:
    """What a video file holds, as found by `probe`."""

    path: Path
    """Where it lies."""
    duration_sec: Fraction
    """From the first picture's appearance to the end of the last one, sound aside."""
    width: int
    """Width as displayed: after rotation, in square pixels."""
    height: int
    """Height as displayed: after rotation, in square pixels."""
    codec: str
    """ffmpeg's name of the picture codec."""
    has_sound: bool
    """Whether there is a sound stream."""
    warnings: tuple[str, ...]
    """What a user should know: one line each, naming the file."""
    first_picture_sec: Fraction
    """The first picture's own timestamp in the file."""


@dataclass
class Timeline:
    """Display times of the pictures of one run, in ticks of `tick_sec`."""

    tick_sec: Fraction = Fraction(0)
    pictures: int = 0
    first: int = 0
    last: int = 0
    last_duration: int = 0
    complete: bool = True
    """False when some picture has no display time or is marked as corrupt."""

    def read(self, rows: Iterable[bytes]) -> None:
        """Take in rows of the framecrc format, one picture each."""
        for row in rows:
            if found := _TIME_BASE.match(row):
                self.tick_sec = Fraction(int(found[1]), int(found[2]))
            elif found := _ROW.match(row):
                self._add(int(found[1]), int(found[2]), int(found[3] or b"1", 16))

    def _add(self, time: int, duration: int, flags: int) -> None:
        if flags & _DISCARD:  # cut off by an edit list
            return
        if time == _NO_TIME or flags & _CORRUPT:
            self.complete = False
            return
        if not self.pictures or time < self.first:
            self.first = time
        if not self.pictures or time >= self.last:
            self.last, self.last_duration = time, duration
        self.pictures += 1


@dataclass(frozen=True)
class _Head:
    """What the first picture and the container's header say."""

    first_picture_sec: Fraction
    width: int
    height: int
    codec: str
    picture_sec: Fraction | None
    has_sound: bool
    container: str


def probe(path: Path) -> Video:
    """Find out how long a video lasts, how large its pictures are, and whether it has sound.

    A damaged or truncated file counts for what can be decoded, with a warning. No warning comes
    where the format hides the damage: a cut at the end of MPEG-TS, Ogg or ASF, wrong bits inside
    a picture.

    Raises InputError for anything that is not a video with at least one picture.
    """
    _check_is_file(path)
    head = _read_head(path)
    timeline, damage = _read_timeline(path, head.container)
    duration_sec = _duration_sec(head, timeline)
    warnings = []
    if damage is None and head.container == "avi":
        damage = _missing_riff_bytes(path)
    if damage is not None:
        warnings.append(
            f"{path}: damaged or cut off ({damage}): using the {timeline.pictures} pictures "
            f"({float(duration_sec):.3f} s) that it holds"
        )
    if timeline.pictures == 1:
        warnings.append(
            f"{path}: holds one picture only: it is shown for {float(duration_sec):.3f} s"
        )
    return Video(
        path=path,
        duration_sec=duration_sec,
        width=head.width,
        height=head.height,
        codec=head.codec,
        has_sound=head.has_sound,
        warnings=tuple(warnings),
        first_picture_sec=head.first_picture_sec,
    )


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


def _read_head(path: Path) -> _Head:
    timeline = Timeline()
    arguments = (*SOURCE_OPTIONS, "-i", url(path), "-map", VIDEO_STREAM, "-frames:v", "1")
    with ffmpeg(
        *arguments, "-vf", "showinfo=checksum=0", *_DECODED_TO_ROWS, log_level="info"
    ) as run:
        timeline.read(run.output)
        run.end()
        container, codec = _found(run, _CONTAINER), _found(run, _CODEC)
        rate, shape, sound = _found(run, _RATE), _found(run, _SHAPE), _found(run, _SOUND)
        fault = run.first_error()
    if container is None:
        raise InputError(
            f"{path}: is not a video that ffmpeg can read ({fault}): give a whole video file"
        )
    if codec is None:
        raise InputError(f"{path}: holds no video stream: give a file with moving pictures")
    if codec[1] in _TEXT_CODECS:
        raise InputError(f"{path}: is text, not a video: give a video file")
    if shape is None or not timeline.pictures:
        raise InputError(
            f"{path}: none of its pictures can be decoded ({fault or 'no data'}): "
            "copy or record it again"
        )
    pixel_width, pixel_height, width, height = (int(group) for group in shape.groups())
    if pixel_width and pixel_height:
        width = max(1, round(Fraction(width * pixel_width, pixel_height)))
    return _Head(
        first_picture_sec=timeline.first * timeline.tick_sec,
        width=width,
        height=height,
        codec=codec[1],
        picture_sec=Fraction(int(rate[2]), int(rate[1])) if rate and int(rate[1]) else None,
        has_sound=sound is not None,
        container=container[1],
    )


def _found(run: Run, pattern: re.Pattern[str]) -> re.Match[str] | None:
    return next((found for line in run.log_lines() if (found := pattern.search(line))), None)


def _read_timeline(path: Path, container: str) -> tuple[Timeline, str | None]:
    """Return the pictures' times and, for a damaged file, what ffmpeg says of the damage."""
    packets, damage = _times(path, "-c", "copy", *_TO_ROWS)
    if packets.complete and packets.pictures and damage is None and container != "gif":
        return packets, None  # a GIF that is cut off shows so only when decoded
    pictures, decoding_damage = _times(path, *_DECODED_TO_ROWS)
    if not pictures.pictures:
        raise InputError(f"{path}: changed while it was read: try again")
    return pictures, damage or decoding_damage


def _times(path: Path, *output: str) -> tuple[Timeline, str | None]:
    timeline = Timeline()
    with ffmpeg(*SOURCE_OPTIONS, "-i", url(path), "-map", VIDEO_STREAM, *output) as run:
        timeline.read(run.output)
        run.end()
        return timeline, run.first_corruption()


def audio_start_sec(video: Video) -> Fraction | None:
    """Return when the sound begins, counted from the first picture; None when none is decoded."""
    timeline = Timeline()
    source = (*SOURCE_OPTIONS, "-i", url(video.path), "-map", "0:a:0", "-frames:a", "1")
    with ffmpeg(*source, *_TO_ROWS) as run:
        timeline.read(run.output)
        run.end()
    if not timeline.pictures:
        return None
    return timeline.first * timeline.tick_sec - video.first_picture_sec


def _duration_sec(head: _Head, timeline: Timeline) -> Fraction:
    """Return the time from the first picture's appearance to the last one's end."""
    last_picture_sec = timeline.last_duration * timeline.tick_sec
    if last_picture_sec <= 0 or head.container == "avi":
        # AVI stores no durations: there ffmpeg gives one tick, however long pictures stay.
        last_picture_sec = head.picture_sec or 1 / Clock().fps
    measured = timeline.last * timeline.tick_sec + last_picture_sec - head.first_picture_sec
    if head.picture_sec:
        # A total that only the rounding of times keeps from a constant rate is that.
        even = timeline.pictures * head.picture_sec
        if timeline.tick_sec == _ROUNDED_TICK_SEC and abs(measured - even) <= _ROUNDED_TICK_SEC:
            return even
    return measured


def _missing_riff_bytes(path: Path) -> str | None:
    """Say how much an AVI lacks of its first list, of which ffmpeg says nothing."""
    with path.open("rb") as file:
        header = file.read(8)
    missing = 8 + int.from_bytes(header[4:8], "little") - path.stat().st_size
    return f"{missing} bytes are missing" if missing > 0 else None
