"""TFRecord files by record index, without TensorFlow.

A file is a row of records, each framed as

    uint64 length | uint32 masked CRC of the length | data | uint32 masked CRC of the data

in little-endian order, with masked(crc) = rotate_right(crc, 15) + 0xa282ead8 and CRC-32C
(TensorFlow's `tf.io.TFRecordWriter`). The offsets of all records are found once by walking over
the headers, and kept beside the shards in one .npy file.
"""

import io
import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import numpy as np
from etils import epath
from jaxtyping import Bool, Int64

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
NO_LABEL = -1
READERS = 2  # threads; reading is a copy and a checksum, both outside the interpreter's lock
CRC_MASK_DELTA = 0xA282EAD8  # TensorFlow, lib/hash/crc32c.h
DROP_HINT = "or leave out what is lost (v2s train --run.corrupt drop)"
REBUILD_HINT = "make the data set again (v2s prepare, --overwrite)"
FIX_HINT = f"copy the file again, or {REBUILD_HINT}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordIndex:
    """Where each record of a split lies."""

    shards: tuple[epath.Path, ...]
    shard: Int64[np.ndarray, " records"]
    """Position in `shards`."""
    offset: Int64[np.ndarray, " records"]
    """Byte at which the record's data begin, after the header."""
    length: Int64[np.ndarray, " records"]
    """Bytes of data."""
    number: Int64[np.ndarray, " records"]
    """The record's number in its shard."""
    label: Int64[np.ndarray, " records"]
    """What the reader keeps of each record with its place; NO_LABEL at first."""

    def place(self, record: int) -> str:
        """Name a record for messages: its shard and its number in it."""
        return f"{self.shards[self.shard[record]]}: record {self.number[record]}"

    def of_label(self, label: int) -> "RecordIndex":
        """Return the index of the records with this label alone."""
        return self.chosen(self.label == label)

    def chosen(self, chosen: Bool[np.ndarray, " records"]) -> "RecordIndex":
        """Return the index of these records alone."""
        return replace(
            self,
            shard=self.shard[chosen],
            offset=self.offset[chosen],
            length=self.length[chosen],
            number=self.number[chosen],
            label=self.label[chosen],
        )

    def read(self, record: int) -> bytes:
        """Return one record's data, checked against both of its CRCs.

        Raises InputError naming the shard and the record's number in it.
        """
        path = self.shards[self.shard[record]]
        offset, length = int(self.offset[record]), int(self.length[record])
        with _reading(path), path.open("rb") as file:
            file.seek(offset - HEADER.size)
            framed = file.read(HEADER.size + length + FOOTER.size)
        if len(framed) < HEADER.size + length + FOOTER.size:
            raise InputError(f"{self.place(record)} is cut off{self._lost(record)}")
        data = framed[HEADER.size : -FOOTER.size]
        (crc,) = FOOTER.unpack(framed[-FOOTER.size :])
        if _header_length(framed[: HEADER.size]) != length or crc != masked_crc(data):
            raise InputError(
                f"{self.place(record)} is damaged (checksum differs){self._lost(record)}"
            )
        return data

    def _lost(self, record: int) -> str:
        """Say how many of the shard's records lie from this one on."""
        beside = self.number[self.shard == self.shard[record]]
        return lost_records_message(
            int(np.count_nonzero(beside >= self.number[record])), len(beside)
        )


def reason(error: Exception) -> str:
    """Return in one line what went wrong."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _reading(path: epath.Path) -> Iterator[None]:
    """Turn what the system or a remote store answers to reading a shard into an InputError."""
    try:
        yield
    except Exception as error:  # remote stores have a type for each way of failing
        raise InputError(f"{path}: cannot be read ({reason(error)}): {FIX_HINT}") from error


def lost_records_message(records: int, of: int) -> str:
    """Return the end of a message about damage: how much is lost from there on, and the mend."""
    return f", with what follows {records} of the shard's {of} records: {FIX_HINT}, {DROP_HINT}"


def masked_crc(data: bytes) -> int:
    """Return the checksum that TFRecord files carry."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + CRC_MASK_DELTA) & 0xFFFFFFFF


def open_index(
    shards: Sequence[epath.Path],
    lengths: Sequence[int],
    cache: epath.Path,
    *,
    stop_at_corruption: bool = False,
) -> RecordIndex:
    """Find every record of the shards, from `cache` when it still fits them.

    `lengths` are the records that each shard should hold. With `stop_at_corruption`, a shard counts up
    to where it is cut off or its headers are damaged.

    Raises InputError for a shard that is missing, and without `stop_at_corruption` for a damaged one.
    """
    stamps = np.array([_stamp(path) for path in shards], np.int64).reshape(-1, 2)
    rows = _read_cache(cache, stamps)
    if rows is None:
        scanned = []
        for path, length in zip(shards, lengths, strict=True):
            found, damage = _scan(path)
            if damage and not stop_at_corruption:
                raise InputError(
                    f"{path}: {damage}{lost_records_message(length - len(found), length)}"
                )
            scanned.append(found)
        rows = np.concatenate(
            [
                np.insert(found, [0, 2], [shard, NO_LABEL], axis=1)
                for shard, found in enumerate(scanned)
            ]
        )
        if sum(map(len, scanned)) == sum(lengths):
            _write_cache(cache, stamps, rows)
    shard, offset, length, label = rows.T
    number = np.arange(len(rows)) - np.searchsorted(shard, shard)
    return RecordIndex(tuple(shards), shard, offset, length, number, label)


def with_labels(
    index: RecordIndex, labels: Int64[np.ndarray, " records"], cache: epath.Path | None
) -> RecordIndex:
    """Return a whole index with its records' labels, which `cache` keeps from now on."""
    if cache is None:
        return replace(index, label=labels)
    stamps = np.array([_stamp(path) for path in index.shards], np.int64)
    rows = np.stack([index.shard, index.offset, index.length, labels], axis=1)
    _write_cache(cache, stamps, rows)
    return replace(index, label=labels)


def _header_length(header: bytes) -> int | None:
    """Return the length that a header states, or None when its checksum differs."""
    length, crc = HEADER.unpack(header)
    return length if crc == masked_crc(header[:8]) else None


def _scan(path: epath.Path) -> tuple[Int64[np.ndarray, "records 2"], str | None]:
    """Walk over one shard's headers; return each record's offset and length, and what ended it."""
    size = path.stat().length
    found: list[tuple[int, int]] = []
    damage = None
    position = 0
    with _reading(path), path.open("rb") as file:
        while position < size and damage is None:
            file.seek(position)
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                damage = f"record {len(found)} is cut off"
            elif (length := _header_length(header)) is None:
                damage = f"record {len(found)} is damaged (checksum of its header differs)"
            elif (end := position + HEADER.size + length + FOOTER.size) > size:
                damage = f"record {len(found)} is cut off (the file ends {end - size} bytes early)"
            else:
                found.append((position + HEADER.size, length))
                position = end
    return np.array(found, np.int64).reshape(-1, 2), damage


def _stamp(path: epath.Path) -> tuple[int, int]:
    """Return a shard's size in bytes and its time of change in seconds.

    An object store gives the time of upload instead, so there the size has to do.
    """
    with _reading(path):
        stat = path.stat()
    return stat.length, 0 if _is_remote(path) else stat.mtime


def _is_remote(path: epath.Path) -> bool:
    return "://" in str(path)


def _read_cache(
    cache: epath.Path, stamps: Int64[np.ndarray, "shards 2"]
) -> Int64[np.ndarray, "records 4"] | None:
    """Return the kept rows (shard, offset, length, label), or None when there are none that fit.

    The file holds one row (size, time, 0, 0) for each shard, then the rows of the records.
    """
    try:
        table = np.load(io.BytesIO(cache.read_bytes()))
    except (OSError, ValueError, EOFError):
        return None
    shards = len(stamps)
    if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] != 4 or len(table) < shards:
        return None
    if _is_remote(cache):
        table[:shards, 1] = 0
    if not np.array_equal(table[:shards, :2], stamps):
        return None
    return table[shards:]


def _write_cache(
    cache: epath.Path,
    stamps: Int64[np.ndarray, "shards 2"],
    rows: Int64[np.ndarray, "records 4"],
) -> None:
    """Keep the rows for the next opening; a folder that cannot be written goes without."""
    if _is_remote(cache):
        return
    try:
        with atomic_write(Path(cache)) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate([np.insert(stamps, [2, 2], 0, axis=1), rows]))
    except InputError as error:
        logger.info("index of records not kept: %s", error)
