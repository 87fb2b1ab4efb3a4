"""Headers and display times of streams, from ffmpeg's framecrc format: one row per packet."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

_HEADER = re.compile(rb"#(\w+) (\d+): +(\S+)")
# stream, decoding time, display time, duration, size, checksum, and flags unless they are 1
_ROW = re.compile(rb"(\d+), *(-?\d+), *(-?\d+), *(-?\d+), *\d+, *\w+(?:, F=0x([0-9A-F]+))?")
NO_TIME = -(2**63)
"""Time of a packet without one: AV_NOPTS_VALUE."""
_CORRUPT, _DISCARD = 2, 4  # AV_PKT_FLAG_*


class Row(NamedTuple):
    """One packet or frame, in ticks of its stream."""

    stream: int
    decoding_time: int
    time: int
    duration: int
    flags: int


def parse_row(row: bytes) -> Row | None:
    """Return a row; None for a line of the header."""
    match = _ROW.match(row)
    if match is None:
        return None
    stream, decoding_time, time, duration, flags = match.groups()
    return Row(int(stream), int(decoding_time), int(time), int(duration), int(flags or b"1", 16))


@dataclass
class Timeline:
    """What is shown of one stream, in ticks of `tick_sec`."""

    tick_sec: Fraction = Fraction(0)
    codec: str = ""
    width: int = 0
    height: int = 0
    pixel_aspect: Fraction | None = None
    """Width of a pixel divided by its height, if the file says so."""
    first_decoding_time: int | None = None
    frames: int = 0
    first: int = 0
    last: int = 0
    last_duration: int = 0
    total: int = 0
    """Sum of all times: two timelines with other times hardly share it."""
    hidden: int = 0
    """Packets that are decoded but not shown: cut off by an edit list."""
    complete: bool = True
    """False when a frame has no display time or is marked as corrupt."""

    @property
    def first_sec(self) -> Fraction:
        """Timestamp of the first frame."""
        return self.first * self.tick_sec

    @property
    def last_sec(self) -> Fraction:
        """Timestamp of the last frame."""
        return self.last * self.tick_sec

    @property
    def mean_sec(self) -> Fraction:
        """Mean timestamp of the frames."""
        return self.total * self.tick_sec / max(1, self.frames)

    def add_header(self, line: bytes) -> None:
        """Add a line of the header."""
        match = _HEADER.match(line)
        if match is None:
            return
        value = match[3]
        match match[1]:
            case b"tb":
                self.tick_sec = Fraction(value.decode())
            case b"codec_id":
                self.codec = value.decode()
            case b"dimensions":
                self.width, self.height = map(int, value.split(b"x"))
            case b"sar":
                horizontal, vertical = map(int, value.split(b"/"))
                if horizontal > 0 and vertical > 0:
                    self.pixel_aspect = Fraction(horizontal, vertical)

    def add(self, row: Row) -> None:
        """Add a packet or frame."""
        if self.first_decoding_time is None:
            self.first_decoding_time = row.decoding_time
        if row.flags & _DISCARD:
            self.hidden += 1
            return
        if row.time == NO_TIME or row.flags & _CORRUPT:
            self.complete = False
            return
        if not self.frames or row.time < self.first:
            self.first = row.time
        if not self.frames or row.time >= self.last:
            self.last, self.last_duration = row.time, row.duration
        self.frames += 1
        self.total += row.time


def read_timelines(rows: Iterable[bytes]) -> dict[int, Timeline]:
    """Read all rows of the framecrc format; return each stream's timeline by its index."""
    timelines: dict[int, Timeline] = defaultdict(Timeline)
    for line in rows:
        if row := parse_row(line):
            timelines[row.stream].add(row)
        elif match := _HEADER.match(line):
            timelines[int(match[2])].add_header(line)
    return dict(timelines)
