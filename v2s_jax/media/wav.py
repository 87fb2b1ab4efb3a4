"""The header of a wav file, with tags: the standard library's `wave` writes none."""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO

Tags = Mapping[str, str]
"""Metadata of a file, by ffmpeg's names, such as `comment`."""
NO_TAGS: Tags = MappingProxyType({})
GENERATED = "Generated sound, not a recording"
"""Begins the comment of every file with a generated sound."""
GENERATED_TAGS: Tags = MappingProxyType({"comment": f"{GENERATED}.", "software": "v2s_jax"})
"""Of sounds that are not results: those of training and evaluation."""

_INFO_IDS = {"comment": b"ICMT", "software": b"ISFT"}
"""Names of tags in RIFF's INFO list; it has no free ones, so other tags are left out."""
_CHANNELS, _SAMPLE_BYTES = 1, 2
_PCM = 1
_SIZE = struct.Struct("<I")
_RIFF_SIZE_AT = 4
_RIFF_HEAD_BYTES = 8  # "RIFF" and the size itself, which the size leaves out
MAX_RIFF_BYTES = 2**32 - 1


def wav_header(sample_rate_hz: int, data_bytes: int, tags: Tags) -> bytes:
    """Return everything before the samples of mono 16-bit PCM: format, tags and sizes."""
    frame_bytes = _CHANNELS * _SAMPLE_BYTES
    rates = (sample_rate_hz, sample_rate_hz * frame_bytes, frame_bytes, 8 * _SAMPLE_BYTES)
    chunks = _chunk(b"fmt ", struct.pack("<HHIIHH", _PCM, _CHANNELS, *rates))
    info = b"".join(
        _chunk(name, tags[tag].encode() + b"\0") for tag, name in _INFO_IDS.items() if tag in tags
    )
    if info:
        chunks += _chunk(b"LIST", b"INFO" + info)
    head = b"WAVE" + chunks + b"data" + _SIZE.pack(data_bytes)
    return b"RIFF" + _SIZE.pack(len(head) + data_bytes) + head


def write_sizes(file: IO[bytes], header_bytes: int, data_bytes: int) -> None:
    """Write the sizes in the header of a file that has grown, and return to its end."""
    for position, size in (
        (_RIFF_SIZE_AT, header_bytes - _RIFF_HEAD_BYTES + data_bytes),
        (header_bytes - _SIZE.size, data_bytes),
    ):
        file.seek(position)
        file.write(_SIZE.pack(size))
    file.seek(header_bytes + data_bytes)


def _chunk(name: bytes, content: bytes) -> bytes:
    """Return a RIFF chunk; its content is filled up to an even size, which the size leaves out."""
    return name + _SIZE.pack(len(content)) + content + b"\0" * (len(content) % 2)
