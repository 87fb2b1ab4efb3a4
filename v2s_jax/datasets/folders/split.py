"""Choose the test clips, and reject training clips that overlap or duplicate them."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from v2s_jax.datasets.folders.layout import Source
from v2s_jax.datasets.folders.manifest import Row
from v2s_jax.errors import printable

TRAIN, TEST = "train", "test"
SPLITS = (TRAIN, TEST)

TEST_CLIPS = 128
"""Test clips of each category: 1,280 of ten categories in the paper."""
SMALL_SHARE = 10
"""A category with fewer than twice the test clips holds out one clip in ten (our choice)."""

logger = logging.getLogger(__name__)


def split_clips(
    sources: Sequence[Source], test_clips: int = TEST_CLIPS, seed: int | None = None
) -> dict[str, str]:
    """Return the split of each clip, by its id.

    Test clips are chosen at random with `seed`; without one they are the last by index, as in
    published lists. Give only files that can be used: a category whose test clip cannot be decoded
    would have none. A category with fewer than twice `test_clips` holds out a tenth, at least one
    clip, but none if it has only one; a warning names it.
    """
    by_category: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_category[source.category].append(source)
    splits = {source.clip_id: TRAIN for source in sources}
    for category, clips in by_category.items():
        count = _test_count(category, len(clips), test_clips)
        for source in _order(clips, seed)[len(clips) - count :]:
            splits[source.clip_id] = TEST
    return splits


def _test_count(category: str, clips: int, test_clips: int) -> int:
    if clips >= 2 * test_clips:
        return test_clips
    count = 0 if clips == 1 else max(1, clips // SMALL_SHARE)
    logger.warning(
        "%s: %d clips are too few for %d test clips: using %d (--test-clips)",
        *(printable(category), clips, test_clips, count),
    )
    return count


def _order(clips: Sequence[Source], seed: int | None) -> list[Source]:
    """Sort the clips so that the last ones are the test clips."""
    if seed is None:
        return sorted(clips, key=lambda source: source.index)
    # The key depends only on seed and name: new clips do not reorder old ones.
    return sorted(
        clips, key=lambda source: hashlib.sha256(f"{seed}/{source.clip_id}".encode()).digest()
    )


def assign_splits(rows: list[Row], splits: dict[str, str]) -> list[Row]:
    """Return the rows with their splits, and reject leaks and duplicates.

    A training clip from the YouTube video of a readable test clip is rejected, and so are other
    training files with the same bytes. Of equal files the test clip is kept, or else the first.
    """
    rows = [replace(row, split=splits.get(row.clip_id or "")) for row in rows]
    used = [row for row in rows if row.status == "used"]
    test_videos = {row.youtube_id: row.clip_id for row in used if row.split == TEST}
    test_videos.pop(None, None)
    # The same bytes leak under any name, even without a csv that names their video.
    leaking = {
        row.sha256: f"from the same YouTube video ({row.youtube_id}) as test clip "
        f"{test_videos[row.youtube_id]}"
        for row in used
        if row.split == TRAIN and row.youtube_id in test_videos
    }
    first: dict[str | None, Row] = {}
    for row in sorted(used, key=lambda row: row.split != TEST):  # stable: test clips first
        first.setdefault(row.sha256, row)

    def check(row: Row) -> Row:
        if row.status == "rejected":
            return row
        if row.split == TRAIN and row.sha256 in leaking:
            return replace(row, status="rejected", reason=leaking[row.sha256])
        original = first[row.sha256]
        if original is not row:
            reason = f"the same bytes as {original.source} ({original.split})"
            return replace(row, status="rejected", reason=reason)
        return row

    rows = [check(row) for row in rows]
    for split in SPLITS:
        left = {row.category for row in rows if row.status == "used" and row.split == split}
        for category in sorted({row.category or "" for row in used} - left):
            logger.warning("%s: no clip for split %s is left", printable(category), split)
    return rows
