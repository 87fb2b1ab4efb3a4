"""TFRecord files without TensorFlow: random access, and the frame of a record.

A file is a sequence of records, each framed as

    uint64 length | uint32 masked CRC of the length | data | uint32 masked CRC of the data

in little-endian order, with masked(crc) = rotate_right(crc, 15) + 0xa282ead8 and CRC-32C
(TensorFlow's `tf.io.TFRecordWriter`). The headers are scanned once for the offsets of all records,
which are cached next to the shards in one .npy file.
"""

import io
import logging
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import numpy as np
from etils import epath
from jaxtyping import Bool, Int64
from tqdm import tqdm

from v2s_jax.bucket import url_of
from v2s_jax.errors import InputError, reason
from v2s_jax.io import atomic_write

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
NO_LABEL = -1
READERS = 2  # threads; reading is a copy and a checksum, both of which release the GIL
CRC_MASK_DELTA = 0xA282EAD8  # TensorFlow, lib/hash/crc32c.h
DROP_HINT = "or leave out the lost records (v2s train --run.corrupt drop)"
REBUILD_HINT = "build the dataset again (v2s prepare, --overwrite)"
FIX_HINT = f"copy the file again, or {REBUILD_HINT}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordIndex:
    """Where each record of a split is stored."""

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
    """A number that the reader stores with each record (its category); NO_LABEL at first."""

    def record_location(self, record: int) -> str:
        """Name a record for messages: its shard and its number in it."""
        return f"{self.shards[self.shard[record]]}: record {self.number[record]}"

    def select(
        self, chosen: Bool[np.ndarray, " records"] | Int64[np.ndarray, " chosen"]
    ) -> "RecordIndex":
        """Return the index of the chosen records only, given by mask or by number."""
        columns = ("shard", "offset", "length", "number", "label")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})

    def read(self, record: int) -> bytes:
        """Return one record's data after checking both CRCs.

        Raises InputError with the shard and the record's number.
        """
        path = self.shards[self.shard[record]]
        offset, length = int(self.offset[record]), int(self.length[record])
        with _wrap_errors(path), path.open("rb") as file:
            file.seek(offset - HEADER.size)
            framed = file.read(HEADER.size + length + FOOTER.size)
        if len(framed) < HEADER.size + length + FOOTER.size:
            raise InputError(f"{self.record_location(record)} is cut off{self._lost(record)}")
        data = framed[HEADER.size : -FOOTER.size]
        (crc,) = FOOTER.unpack(framed[-FOOTER.size :])
        if _header_length(framed[: HEADER.size]) != length or crc != masked_crc(data):
            raise InputError(
                f"{self.record_location(record)} is corrupt (checksum differs){self._lost(record)}"
            )
        return data

    def _lost(self, record: int) -> str:
        """Count the shard's records from this one on."""
        numbers = self.number[self.shard == self.shard[record]]
        return lost_records_message(
            int(np.count_nonzero(numbers >= self.number[record])), len(numbers)
        )


@contextmanager
def _wrap_errors(path: epath.Path) -> Iterator[None]:
    """Turn errors of the file system or a remote store into an InputError."""
    try:
        yield
    except Exception as error:  # each remote store has its own exception types
        raise InputError(f"{path}: cannot be read ({reason(error)}): {FIX_HINT}") from error


def lost_records_message(records: int, total: int) -> str:
    """Return the end of a message about corruption: how much is lost, and the fix."""
    return f": {records} of the shard's {total} records are lost: {FIX_HINT}, {DROP_HINT}"


def masked_crc(data: bytes) -> int:
    """Return the checksum that TFRecord files use."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + CRC_MASK_DELTA) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """Return a record as it is in a file: with its length, and with the checksums of both."""
    length = struct.pack("<Q", len(data))
    header = HEADER.pack(len(data), masked_crc(length))
    return header + data + FOOTER.pack(masked_crc(data))


def open_index(
    shards: Sequence[epath.Path],
    lengths: Sequence[int],
    cache: epath.Path,
    *,
    stop_at_corruption: bool = False,
) -> RecordIndex:
    """Find every record of the shards, from `cache` while it is up to date.

    `lengths` are the records that each shard should hold. With `stop_at_corruption`, a shard ends
    where it is cut off or a header is corrupt.

    Raises InputError for a missing shard, and without `stop_at_corruption` for a corrupt one.
    """
    stamps = np.array([_stamp(path) for path in shards], np.int64).reshape(-1, 2)
    rows = _read_cache(cache, stamps)
    if rows is None:
        scanned = []
        for path, length in zip(shards, lengths, strict=True):
            records, damage = _scan(path)
            if damage and not stop_at_corruption:
                raise InputError(
                    f"{path}: {damage}{lost_records_message(length - len(records), length)}"
                )
            scanned.append(records)
        rows = np.concatenate(
            [
                np.insert(records, [0, 2], [shard, NO_LABEL], axis=1)
                for shard, records in enumerate(scanned)
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
    """Return a complete index with its records' labels, and store them in `cache`."""
    if cache is not None:
        stamps = np.array([_stamp(path) for path in index.shards], np.int64)
        rows = np.stack([index.shard, index.offset, index.length, labels], axis=1)
        _write_cache(cache, stamps, rows)
    return replace(index, label=labels)


def drop_corrupt_records(index: RecordIndex, lengths: Sequence[int]) -> tuple[RecordIndex, int]:
    """Cut each shard off at its first corrupt record; return the index and the count of lost ones.

    Every record is read and checked, so the clips and their order are known before the first is
    used. `lengths` are the records that each shard should hold. A warning names each shard that
    loses records.
    """
    intact = np.ones(len(index.offset), bool)
    dropped = 0
    records = [np.flatnonzero(index.shard == shard) for shard in range(len(index.shards))]
    with ThreadPoolExecutor(READERS) as pool:
        prefixes = pool.map(lambda numbers: _intact_prefix(index, numbers), records)
        progress = tqdm(prefixes, total=len(records), desc="checking shards", unit="shard")
        for numbers, length, path, (count, damage) in zip(
            records, lengths, index.shards, progress, strict=True
        ):
            intact[numbers[count:]] = False
            if count < length:
                dropped += length - count
                logger.warning(
                    "%s: dropped from record %d on, %d of %d records (%s)",
                    *(path, count, length - count, length, damage or "its end is missing"),
                )
    return index.select(intact), dropped


def _intact_prefix(index: RecordIndex, records: np.ndarray) -> tuple[int, str | None]:
    """Count a shard's records before the first corrupt one, and say what is wrong with that."""
    for count, record in enumerate(records):
        try:
            index.read(int(record))
        except InputError as error:
            location = index.record_location(int(record))
            return count, str(error).removeprefix(f"{location} ").split(":")[0]
    return len(records), None


def _header_length(header: bytes) -> int | None:
    """Return the length in a header, or None when its checksum differs."""
    length, crc = HEADER.unpack(header)
    return length if crc == masked_crc(header[:8]) else None


def _scan(path: epath.Path) -> tuple[Int64[np.ndarray, "records 2"], str | None]:
    """Return offset and length of each record of a shard, and the damage that ended the scan."""
    size = path.stat().length
    records: list[tuple[int, int]] = []
    damage = None
    position = 0
    with _wrap_errors(path), path.open("rb") as file:
        while position < size and damage is None:
            file.seek(position)
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                damage = f"record {len(records)} is cut off"
            elif (length := _header_length(header)) is None:
                damage = f"record {len(records)} is corrupt (checksum of its header differs)"
            elif (end := position + HEADER.size + length + FOOTER.size) > size:
                damage = (
                    f"record {len(records)} is cut off (the file ends {end - size} bytes early)"
                )
            else:
                records.append((position + HEADER.size, length))
                position = end
    return np.array(records, np.int64).reshape(-1, 2), damage


def _stamp(path: epath.Path) -> tuple[int, int]:
    """Return a shard's size in bytes and its modification time in seconds.

    In an object store that would be the time of upload, so only the size counts there.
    """
    with _wrap_errors(path):
        stat = path.stat()
    return stat.length, 0 if url_of(path) else stat.mtime


def _read_cache(
    cache: epath.Path, stamps: Int64[np.ndarray, "shards 2"]
) -> Int64[np.ndarray, "records 4"] | None:
    """Return the cached rows (shard, offset, length, label), or None if missing or outdated.

    The file holds one row (size, time, 0, 0) for each shard, then the rows of the records, and its
    checksum after the array. An index without one, as earlier versions wrote, counts as outdated:
    a wrong label in it would silently drop a clip.
    """
    try:
        content = cache.read_bytes()
    except OSError:
        return None
    array, footer = content[: -FOOTER.size], content[-FOOTER.size :]
    if footer != FOOTER.pack(masked_crc(array)):
        return None
    table = np.load(io.BytesIO(array))
    shards = len(stamps)
    if url_of(cache):
        table[:shards, 1] = 0
    return table[shards:] if np.array_equal(table[:shards, :2], stamps) else None


def _write_cache(
    cache: epath.Path,
    stamps: Int64[np.ndarray, "shards 2"],
    rows: Int64[np.ndarray, "records 4"],
) -> None:
    """Cache the rows for the next time, unless the folder cannot be written."""
    if url_of(cache):
        return
    try:
        array = io.BytesIO()
        np.save(array, np.concatenate([np.insert(stamps, [2, 2], 0, axis=1), rows]))
        content = array.getvalue()
        with atomic_write(Path(cache)) as temporary:
            temporary.write_bytes(content + FOOTER.pack(masked_crc(content)))
    except InputError as error:
        logger.info("record index not cached: %s", error)
