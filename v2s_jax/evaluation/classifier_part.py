"""The classifier of sounds, fitted on true sounds of the train split of the data evaluated."""

from tqdm import tqdm

from v2s_jax.config import ModelConfig
from v2s_jax.datasets import ClipDataset, open_dataset
from v2s_jax.errors import InputError
from v2s_jax.evaluation.classifier import SoundClassifier, fit_classifier
from v2s_jax.evaluation.clips import true_sounds
from v2s_jax.evaluation.selection import TRAIN, Selection, select

TRAIN_CLIPS = 100
"""Sounds of each category that it is fitted on, at most, the first ones: whatever --clips says, so
that its ceiling does not depend on how many clips are evaluated."""
LEAST_CATEGORIES = 2


def fit_on_train(directory: str, clips: Selection, model: ModelConfig) -> SoundClassifier | str:
    """Return the classifier for clips of the data set in `directory`, or why there can be none.

    It knows all categories that the train split has clips of, also where fewer are evaluated.
    """
    if clips.data.split == TRAIN:
        return "clips of the train split are evaluated, which the classifier would know already"
    try:
        train = open_dataset(directory, TRAIN)
        known = [category for category in train.categories if _has(train, category)]
        lacking = sorted(set(clips.categories) - set(known))
        if lacking:
            return f"the train split has no clips of {', '.join(lacking)}"
        if len(known) < LEAST_CATEGORIES:
            return f"the train split has clips of {known[0]} alone: a category among others is told"
        chosen = select(train, known, TRAIN_CLIPS)
        sounds, rate_hz = [], train.clock.sample_rate_hz
        what = "reading true sounds of the train split"
        for clip in tqdm(range(len(chosen)), desc=what, unit="clip", dynamic_ncols=True):
            sounds += true_sounds([chosen[clip]], model)
    except InputError as error:
        return f"the train split cannot be read: {error}"
    return fit_classifier(sounds, chosen.categories, rate_hz)


def _has(data: ClipDataset, category: str) -> bool:
    """Tell whether there are clips of a category."""
    try:
        data.of_category(category)
    except InputError:
        return False
    return True
