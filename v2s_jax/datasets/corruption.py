"""Going on without what is damaged: each shard counts up to its first damaged record."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from v2s_jax.datasets.tfrecord import READERS, RecordIndex
from v2s_jax.errors import InputError

logger = logging.getLogger(__name__)


def drop_corrupt_records(index: RecordIndex, lengths: Sequence[int]) -> tuple[RecordIndex, int]:
    """Return the index without each shard's records from its first damaged one on, and their count.

    Every record is read and checked, so that which clips there are, and so their order, is settled
    before the first is used. `lengths` are the records that each shard should hold. Each shard
    that loses records is named in a warning.
    """
    kept = np.ones(len(index.offset), bool)
    dropped = 0
    records = [np.flatnonzero(index.shard == shard) for shard in range(len(index.shards))]
    with ThreadPoolExecutor(READERS) as pool:
        checked = pool.map(lambda own: _intact_prefix(index, own), records)
        shown = tqdm(checked, total=len(records), desc="checking shards", unit="shard")
        for own, length, path, (whole, reason) in zip(
            records, lengths, index.shards, shown, strict=True
        ):
            kept[own[whole:]] = False
            if whole < length:
                dropped += length - whole
                logger.warning(
                    "%s: dropped from record %d on, %d of %d records (%s)",
                    *(path, whole, length - whole, length, reason or "its end is missing"),
                )
    return index.chosen(kept), dropped


def _intact_prefix(index: RecordIndex, records: np.ndarray) -> tuple[int, str | None]:
    """Return how many of a shard's records are whole, up to the first fault, and that fault."""
    for count, record in enumerate(records):
        try:
            index.read(int(record))
        except InputError as error:
            return count, str(error).removeprefix(f"{index.place(int(record))} ").split(",")[0]
    return len(records), None
