"""Which clips are held out, and which training clips must go because of them."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from v2s_jax.datasets.folders.layout import Source
from v2s_jax.errors import InputError

TRAIN, TEST = "train", "test"
SPLITS = (TRAIN, TEST)

TEST_CLIPS = 128
"""Test clips of each category: 1,280 of ten categories in the paper."""
SMALL_SHARE = 10
"""Of a category with fewer than twice the test clips wanted, one in ten is held out (ours)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitRule:
    """How clips are held out."""

    test_clips: int = TEST_CLIPS
    """Test clips of each category."""
    seed: int | None = None
    """Choose them at random by this seed; None: the last ones by index, as the lists in use do."""

    def __post_init__(self) -> None:
        if self.test_clips < 1:
            raise InputError(f"--test-clips {self.test_clips}: must be at least 1")


def split_of(sources: Sequence[Source], rule: SplitRule) -> dict[str, str]:
    """Return the split of each clip, by its id.

    It depends on the files that are there alone, whether or not they can be read, so that a
    damaged file moves no other clip into another split. A category with fewer than twice
    `rule.test_clips` holds out a tenth, at least one clip, and none if it has but one; each such
    category gets a warning.
    """
    by_category: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_category[source.category].append(source)
    splits = {source.clip_id: TRAIN for source in sources}
    for category, clips in by_category.items():
        for source in _order(clips, rule)[len(clips) - _held_out(category, len(clips), rule) :]:
            splits[source.clip_id] = TEST
    return splits


def _held_out(category: str, clips: int, rule: SplitRule) -> int:
    if clips >= 2 * rule.test_clips:
        return rule.test_clips
    held_out = 0 if clips == 1 else max(1, clips // SMALL_SHARE)
    logger.warning(
        "%s: %d clips are too few to hold out %d: %d held out instead (--test-clips)",
        *(category, clips, rule.test_clips, held_out),
    )
    return held_out


def _order(clips: Sequence[Source], rule: SplitRule) -> list[Source]:
    """Return the clips in the order of which the last are held out."""
    if rule.seed is None:
        return sorted(clips, key=lambda source: source.index)
    # A clip's place depends on its own name and the seed: new clips do not shuffle the old ones.
    return sorted(
        clips, key=lambda source: hashlib.sha256(f"{rule.seed}/{source.clip_id}".encode()).digest()
    )


def leaks(sources: Sequence[Source], splits: dict[str, str]) -> dict[str, str]:
    """Return the training clips cut from a test clip's YouTube video, by id, with the reason."""
    held_out = {
        source.youtube_id: source.clip_id
        for source in sources
        if source.youtube_id and splits[source.clip_id] == TEST
    }
    return {
        source.clip_id: f"from the same YouTube video ({source.youtube_id}) as test clip "
        f"{held_out[source.youtube_id]}"
        for source in sources
        if source.youtube_id in held_out and splits[source.clip_id] == TRAIN
    }
