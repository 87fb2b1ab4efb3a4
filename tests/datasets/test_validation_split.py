"""The validation part of the training split."""

import dataclasses

import pytest

from v2s_jax.config import TINY, TrainingConfig
from v2s_jax.datasets import held_out_batches, open_dataset, split_validation
from v2s_jax.datasets.synthetic.in_memory import open_in_memory
from v2s_jax.errors import InputError


@pytest.fixture(scope="module")
def clips():
    """The training clips of the `small` preset in memory; none is rendered here."""
    with open_in_memory("small", TINY, 1, 0) as open_split:
        yield open_split("train")


def ids(clips) -> list[tuple[str, int]]:
    return [(clip.category, clip.index) for clip in clips.clips]


@pytest.mark.parametrize("eval_clips", [1, 8, 10_000])
def test_parts_are_disjoint_and_hold_out_every_category(clips, eval_clips):
    training = TrainingConfig(eval_clips=eval_clips)
    train_part, held_out = split_validation(clips, training)
    assert sorted(ids(train_part) + ids(held_out)) == sorted(ids(clips))
    assert {category for category, _ in ids(held_out)} == set(clips.categories)
    limit = min(eval_clips, len(clips) // 10)
    assert limit <= len(held_out) <= limit + len(clips.categories)
    assert train_part.fingerprint != clips.fingerprint


def test_split_depends_on_the_seed_only(clips):
    first, again, other = (
        ids(split_validation(clips, TrainingConfig(seed=seed))[1]) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_one_category(clips):
    training = TrainingConfig(category="dog")
    of_dog = clips.of_category("dog")
    train_part, held_out = split_validation(of_dog, training)
    assert len(held_out) == max(1, len(of_dog) // 10)
    assert len(train_part) + len(held_out) == len(of_dog)


def test_records_of_shards(fixture_dataset):
    """Clips keep their records, rows of all hosts make the whole, and too few clips are refused."""
    data = open_dataset(fixture_dataset, "train")
    train_part, held_out = split_validation(data, TINY.training)
    assert {train_part[0].clip_id, held_out[0].clip_id} == {data[0].clip_id, data[1].clip_id}
    config = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, batch_clips=2))
    batches = [
        batch for row in (0, 1) for batch in held_out_batches(held_out, config, range(row, row + 1))
    ]
    assert [batch.mask.any() for batch in batches] == [True, False]  # the second row is padding
    with pytest.raises(InputError, match="1 training clips are too few to hold out"):
        split_validation(train_part, TINY.training)
