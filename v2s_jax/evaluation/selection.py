"""The clips that models are compared on: the first of each category, read when they are needed."""

from collections.abc import Sequence

from v2s_jax.config import ModelConfig
from v2s_jax.datasets import ClipDataset, ClipRecord, select_model_features, waveform_from_int16
from v2s_jax.errors import InputError, unknown_name_error
from v2s_jax.evaluation.likelihood import Sound
from v2s_jax.quantize import quantize

TRAIN = "train"
"""The split that unigram and classifier are fitted on."""


class Selection:
    """Some clips of a split by number; only names and lengths are held in memory."""

    def __init__(self, data: ClipDataset, places: Sequence[tuple[ClipDataset, int]]) -> None:
        self.data = data
        self._places = list(places)
        records = [self[clip] for clip in range(len(self))]
        self.clip_ids = [record.clip_id for record in records]
        self.categories = [record.category for record in records]
        self.samples = [record.waveform.size for record in records]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, clip: int) -> ClipRecord:
        data, number = self._places[clip]
        return data[number]

    def first(self, count: int) -> "Selection":
        """Return the first clips, as many of each category as of the others."""
        return self.taken(self.spread(count))

    def spread(self, count: int) -> list[int]:
        """Return the places of the first clips, as many of each category as of the others."""
        return sorted(round_robin(self.categories)[:count])

    def taken(self, clips: Sequence[int]) -> "Selection":
        """Return these clips, in this order."""
        return Selection(self.data, [self._places[clip] for clip in clips])


def round_robin(categories: Sequence[str]) -> list[int]:
    """Return the places of clips of these categories so that categories take turns.

    Example: of drum, drum, dog they are 0, 2, 1.
    """
    turn: dict[str, int] = {}
    turns = []
    for category in categories:
        turn[category] = turn.get(category, -1) + 1
        turns.append(turn[category])
    return sorted(range(len(turns)), key=lambda clip: turns[clip])


def select(data: ClipDataset, categories: Sequence[str], per_category: int) -> Selection:
    """Return the first `per_category` clips of each category; fewer where there are fewer.

    Raises InputError for a category that the split has no clips of, and for less than one clip.
    """
    if per_category < 1:
        raise InputError(f"--clips {per_category}: use at least 1")
    places = []
    for category in categories:
        own = data.of_category(category)
        places += [(own, number) for number in range(min(per_category, len(own)))]
    return Selection(data, places)


def categories_named(data: ClipDataset, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return these categories, or all; raise InputError for one that is unknown."""
    for category in wanted:
        if category not in data.categories:
            raise unknown_name_error(
                "--category", category, data.categories, f"{data.directory} holds"
            )
    return tuple(wanted) or data.categories


def sound_of(record: ClipRecord, model: ModelConfig) -> Sound:
    """Return what is scored of a clip, in the model's own levels."""
    waveform = waveform_from_int16(record.waveform)
    levels = quantize(waveform, model.q_levels, model.quantization)
    return Sound(levels, select_model_features(record, model), f"clip {record.clip_id}")
