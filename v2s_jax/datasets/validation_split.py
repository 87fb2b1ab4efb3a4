"""A validation part of the training split, which is then not trained on."""

import numpy as np

from v2s_jax.config import TrainingConfig
from v2s_jax.datasets.batches import shuffled_indices
from v2s_jax.datasets.schema import ClipSource
from v2s_jax.errors import InputError

TRAIN_CLIPS_PER_VALIDATION_CLIP = 10
"""At most one clip in ten is held out."""
MAX_CLIPS_SEARCHED = 1_000
"""Clips whose category is looked up to find one of each: on disk this reads the clips."""


def split_validation(data: ClipSource, training: TrainingConfig) -> tuple[ClipSource, ClipSource]:
    """Split the training split into clips to train on and clips to evaluate on.

    The validation part is a tenth of the clips, at most `eval_clips`, chosen by the seed. To it is
    added one clip of each category that is missing, if one is found early in the same order. It
    depends only on the clips and the config, so every process and every resumed run has the same.

    Args:
        data: the training split, or one category of it.
        training: gives the seed, the number of clips, and the category.

    Returns:
        The clips to train on and the validation part, each in the order of `data`.

    Raises:
        InputError: there are too few clips, or a clip cannot be read.
    """
    count = min(training.eval_clips, max(1, len(data) // TRAIN_CLIPS_PER_VALIDATION_CLIP))
    order = shuffled_indices(training.seed, len(data), np.arange(len(data))).tolist()
    chosen = set(order[:count])
    missing = set(data.categories if training.category is None else ())
    searched = order[:MAX_CLIPS_SEARCHED]
    for clip, category in zip(searched, data.clip_categories(searched), strict=True):
        if not missing:
            break
        if category in missing:
            missing.remove(category)
            chosen.add(clip)
    clips = range(len(data))
    rest = [clip for clip in clips if clip not in chosen]
    if not rest:
        raise InputError(
            f"{data.location}: {len(data)} training clips are too few to hold out a validation "
            "part: use --training.eval-split test, or --training.eval-every-steps 0 for no "
            "evaluation"
        )
    return data.take(rest), data.take(sorted(chosen))
