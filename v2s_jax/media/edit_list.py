"""When the edit list of an MP4 or QuickTime file ends: ffmpeg shows whole frames only.

A box is a size of 32 bits, a name, and content; size 1 says that 64 bits follow, size 0 that the
box goes up to the end of the file (ISO/IEC 14496-12).
"""

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, NamedTuple

_MAX_TABLE_BYTES = 2**20  # of an edit list: 50,000 edits


class _Box(NamedTuple):
    name: bytes
    start: int
    """Where its content begins."""
    end: int


class EditEnd(NamedTuple):
    """The end of a track's edit list."""

    time_sec: Fraction
    tick_sec: Fraction
    """Durations of edits are rounded to it."""


def read_edit_end(path: Path) -> EditEnd | None:
    """Return when the edit list of the video track ends; None without one, or with several tracks.

    A damaged file has no edit list.
    """
    with path.open("rb") as file:
        try:
            return _read_edit_end(file)
        except (struct.error, IndexError, ZeroDivisionError):
            return None


def _read_edit_end(file: IO[bytes]) -> EditEnd | None:
    whole = _Box(b"", 0, file.seek(0, os.SEEK_END))
    header = _find(file, whole, b"moov", b"mvhd")
    movie = _find(file, whole, b"moov")
    if header is None or movie is None:
        return None
    videos = []
    for track in _boxes(file, movie):
        handler = _find(file, track, b"mdia", b"hdlr") if track.name == b"trak" else None
        if handler is not None and _read(file, handler)[8:12] == b"vide":
            videos.append(track)
    edits = _find(file, videos[0], b"edts", b"elst") if len(videos) == 1 else None
    if edits is None:
        return None
    data = _read(file, header)
    (ticks_per_sec,) = struct.unpack_from(">I", data, 20 if data[0] else 12)
    durations = _edit_durations(_read(file, edits))
    if not durations or 0 in durations:  # 0: up to the end of the media
        return None
    return EditEnd(Fraction(sum(durations), ticks_per_sec), Fraction(1, ticks_per_sec))


def _edit_durations(table: bytes) -> list[int]:
    (count,) = struct.unpack_from(">I", table, 4)
    entry = struct.Struct(">QqI" if table[0] else ">IiI")  # duration, media time, rate
    count = min(count, (len(table) - 8) // entry.size)
    return [duration for duration, _, _ in entry.iter_unpack(table[8 : 8 + count * entry.size])]


def _find(file: IO[bytes], parent: _Box, *path: bytes) -> _Box | None:
    for name in path:
        found = next((box for box in _boxes(file, parent) if box.name == name), None)
        if found is None:
            return None
        parent = found
    return parent


def _boxes(file: IO[bytes], parent: _Box) -> Iterator[_Box]:
    position = parent.start
    while position + 8 <= parent.end:
        file.seek(position)
        size, name = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            header = 16
        end = parent.end if size == 0 else position + size
        if (size and size < header) or end > parent.end:
            return
        yield _Box(name, position + header, end)
        position = end


def _read(file: IO[bytes], box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(min(box.end - box.start, _MAX_TABLE_BYTES))
