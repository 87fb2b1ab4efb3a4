"""Choose the test clips, and reject training clips that overlap or duplicate them."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from v2s_jax.datasets.folders.layout import Source
from v2s_jax.datasets.folders.manifest import Row
from v2s_jax.errors import InputError

TRAIN, TEST = "train", "test"
SPLITS = (TRAIN, TEST)

TEST_CLIPS = 128
"""Test clips of each category: 1,280 of ten categories in the paper."""
SMALL_SHARE = 10
"""A category with fewer than twice the test clips holds out one clip in ten (our choice)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitRule:
    """How test clips are chosen."""

    test_clips: int = TEST_CLIPS
    """Test clips of each category."""
    seed: int | None = None
    """Choose at random with this seed; None: the last ones by index, as in published lists."""

    def __post_init__(self) -> None:
        if self.test_clips < 1:
            raise InputError(f"--test-clips {self.test_clips}: must be at least 1")


def split_clips(sources: Sequence[Source], rule: SplitRule) -> dict[str, str]:
    """Return the split of each clip, by its id.

    It depends only on which files exist, not on whether they can be read, so a corrupt file moves
    no other clip into another split. A category with fewer than twice `rule.test_clips` holds out
    a tenth, at least one clip, but none if it has only one; a warning names it.
    """
    by_category: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_category[source.category].append(source)
    splits = {source.clip_id: TRAIN for source in sources}
    for category, clips in by_category.items():
        for source in _order(clips, rule)[len(clips) - _test_count(category, len(clips), rule) :]:
            splits[source.clip_id] = TEST
    return splits


def _test_count(category: str, clips: int, rule: SplitRule) -> int:
    if clips >= 2 * rule.test_clips:
        return rule.test_clips
    count = 0 if clips == 1 else max(1, clips // SMALL_SHARE)
    logger.warning(
        "%s: %d clips are too few for %d test clips: using %d (--test-clips)",
        *(category, clips, rule.test_clips, count),
    )
    return count


def _order(clips: Sequence[Source], rule: SplitRule) -> list[Source]:
    """Sort the clips so that the last ones are the test clips."""
    if rule.seed is None:
        return sorted(clips, key=lambda source: source.index)
    # The key depends only on seed and name: new clips do not reorder old ones.
    return sorted(
        clips, key=lambda source: hashlib.sha256(f"{rule.seed}/{source.clip_id}".encode()).digest()
    )


def leaks(sources: Sequence[Source], splits: dict[str, str]) -> dict[str, str]:
    """Return training clips from the YouTube video of a test clip, by id, with the reason."""
    test_videos = {
        source.youtube_id: source.clip_id
        for source in sources
        if source.youtube_id and splits[source.clip_id] == TEST
    }
    return {
        source.clip_id: f"from the same YouTube video ({source.youtube_id}) as test clip "
        f"{test_videos[source.youtube_id]}"
        for source in sources
        if source.youtube_id in test_videos and splits[source.clip_id] == TRAIN
    }


def assign_splits(sources: list[Source], splits: dict[str, str], rows: list[Row]) -> list[Row]:
    """Return the rows with their splits, and reject leaks and duplicates.

    A training clip from the YouTube video of a readable test clip is rejected, and so are other
    training files with the same bytes. Of equal files the test clip is kept, or else the first.
    """
    usable = {row.clip_id for row in rows if row.status == "used"}
    leaking = leaks([source for source in sources if source.clip_id in usable], splits)
    # The same bytes leak under any name, even without a csv that names their video.
    leaking_hashes = {row.sha256: leaking[row.clip_id] for row in rows if row.clip_id in leaking}
    rows = [replace(row, split=splits[row.clip_id or ""]) for row in rows]
    first: dict[str | None, Row] = {}
    for row in sorted(rows, key=lambda row: row.split != TEST):  # stable: test clips first
        if row.status == "used":
            first.setdefault(row.sha256, row)

    def check(row: Row) -> Row:
        if row.status == "rejected":
            return row
        if row.split != TEST and row.sha256 in leaking_hashes:
            return replace(row, status="rejected", reason=leaking_hashes[row.sha256])
        original = first[row.sha256]
        if original is not row:
            reason = f"the same bytes as {original.source} ({original.split})"
            return replace(row, status="rejected", reason=reason)
        return row

    return [check(row) for row in rows]
