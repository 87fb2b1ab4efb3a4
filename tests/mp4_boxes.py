"""Change the boxes of MP4 and QuickTime files whose index is at the end, as ffmpeg writes them."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

_CONTAINERS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf"}
Box = list  # a name, and bytes or boxes


def _parse(data: bytes) -> list[Box]:
    boxes, position = [], 0
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + size]
        boxes.append([name, _parse(content) if name in _CONTAINERS else content])
        position += size
    return boxes


def _write(boxes: list[Box]) -> bytes:
    contents = [(name, c if isinstance(c, bytes) else _write(c)) for name, c in boxes]
    return b"".join(struct.pack(">I4s", 8 + len(c), name) + c for name, c in contents)


def _find(boxes: list[Box], *path: bytes) -> Box:
    box = next(box for box in boxes if box[0] == path[0])
    return box if len(path) == 1 else _find(box[1], *path[1:])


def _tracks(boxes: list[Box]) -> Iterator[list[Box]]:
    return (box[1] for box in _find(boxes, b"moov")[1] if box[0] == b"trak")


def set_edits(path: Path, edits: Sequence[tuple[float, float]]) -> None:
    """Give all tracks these edits: start in the media and duration, in seconds."""
    boxes = _parse(path.read_bytes())
    (movie_ticks,) = struct.unpack_from(">I", _find(boxes, b"moov", b"mvhd")[1], 12)
    for track in _tracks(boxes):
        (ticks,) = struct.unpack_from(">I", _find(track, b"mdia", b"mdhd")[1], 12)
        table = _find(track, b"edts", b"elst")
        (delay,) = struct.unpack_from(">i", table[1], 12)  # of the codec
        rows = [
            struct.pack(">IiI", round(length * movie_ticks), delay + round(start * ticks), 1 << 16)
            for start, length in edits
        ]
        table[1] = struct.pack(">II", 0, len(rows)) + b"".join(rows)
    path.write_bytes(_write(boxes))


def refer_to(path: Path, other: str) -> None:
    """Make all tracks say that their data are in another file, by a QuickTime alias."""
    boxes = _parse(path.read_bytes())
    for track in _tracks(boxes):
        name = other.encode()
        path_record = struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2)
        alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16)
        alias += struct.pack(">HH", 1, 1) + bytes(16) + path_record + struct.pack(">HH", 0xFFFF, 0)
        entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
        _find(track, b"mdia", b"minf", b"dinf", b"dref")[1] = struct.pack(">II", 0, 1) + entry
    path.write_bytes(_write(boxes))
