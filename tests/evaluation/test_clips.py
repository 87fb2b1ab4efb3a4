"""Table 1's parts: intervals cover, shuffles derange, floors bound, scores are kept."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import random_params
from v2s_jax.checkpoints import save_params
from v2s_jax.config import TINY
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.synthetic.command import make_synthetic
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.errors import InputError
from v2s_jax.evaluation import bootstrap
from v2s_jax.evaluation.categories import ALL_CLIPS, MEAN_OF_CATEGORIES, by_category
from v2s_jax.evaluation.cross_entropy import (
    floor_bits,
    level_counts,
    pair_bits,
    uniform_bits,
    unigram_bits,
)
from v2s_jax.evaluation.estimate import ALIKE, LEAST_CLIPS, mean, pooled_difference, share_of
from v2s_jax.evaluation.models import open_models
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.selection import select
from v2s_jax.evaluation.shuffling import derange_within_category
from v2s_jax.evaluation.sounds_part import make_sounds

CATEGORIES = ("dog", "drum")
SMALL = Preset("small", train_clips=2, test_clips=3, video_frames=6, categories=CATEGORIES)

names = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


# Intervals


@pytest.fixture(scope="module", autouse=True)
def fewer_resamples():
    """So that many intervals can be tried: their ends vary by a twentieth of their width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 400)
        yield


@given(names, st.integers(0, 99))
def test_amounts_are_summed_and_divided_once(categories, seed):
    random = np.random.default_rng(seed)
    amounts, units = random.normal(size=len(categories)), random.uniform(1, 2, len(categories))
    found = dict(by_category(amounts, units, categories, seed))
    own = {name: np.array([c == name for c in categories]) for name in set(categories)}
    ratios = {name: amounts[rows].sum() / units[rows].sum() for name, rows in own.items()}
    for name, ratio in ratios.items():
        assert found[name].value == pytest.approx(ratio)
        assert found[name].clips == own[name].sum()
    assert found[ALL_CLIPS].value == pytest.approx(amounts.sum() / units.sum())
    assert found[MEAN_OF_CATEGORIES].value == pytest.approx(np.mean(list(ratios.values())))
    for estimate in found.values():
        if estimate.low is None:
            assert f"an interval needs {LEAST_CLIPS}" in estimate.reason
        else:
            assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize("value", [0.0, 1.0, 8.0, 1 / 3])
def test_clips_that_are_all_alike_have_no_interval(value):
    """Ten clips without a fault do not show that a thousand would have none."""
    found = mean([value] * 10, 0, "")
    assert found.value == pytest.approx(value)
    assert (found.low, found.high, found.reason) == (None, None, ALIKE)
    units = np.array([[32_768.0 * value, 32_768.0], [160_000.0 * value, 160_000.0]] * 5)
    same = pooled_difference(units, units, share_of, 0)
    assert (same.value, same.low, same.reason) == (0.0, None, ALIKE)
    assert mean([value] * 9 + [value + 1.0], 0, "").low is not None


def test_the_mean_of_categories_keeps_each_category_s_share():
    """Categories that differ widely and hardly vary inside: nothing is uncertain but the mix."""
    amounts = np.array([1.0] * 6 + [5.0] * 12)
    amounts[::2] += 1e-9
    categories = ["quiet"] * 6 + ["loud"] * 12
    found = dict(by_category(amounts, np.ones(18), categories, 0))
    mean, mixed = found[MEAN_OF_CATEGORIES], found[ALL_CLIPS]
    assert mean.low == pytest.approx(3.0) == pytest.approx(mean.high)
    assert mixed.low < mixed.value - 0.5 and mixed.high > mixed.value + 0.5


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 experiments of 40 clips of 2 categories; 95 % less four deviations is 89 %."""
    random = np.random.default_rng(0)
    categories = ["a", "b"] * 20
    covered = Counter[str]()
    for _ in range(200):
        units = random.uniform(0.5, 1.5, 40)
        amounts = units * (2.0 + random.exponential(1.0, 40))
        for name, found in by_category(amounts, units, categories, 0):
            covered[name] += found.low <= 3.0 <= found.high
    for name in (ALL_CLIPS, MEAN_OF_CATEGORIES):
        assert 0.88 <= covered[name] / 200 <= 1.0, name


# Shuffled videos


@given(names, st.integers(0, 2**32 - 1), st.booleans())
def test_each_clip_gets_another_and_each_is_given_once(categories, seed, within):
    found = derange_within_category(categories, seed, within=within)
    assert sorted(found) == list(range(len(categories)))
    for clip, partner in enumerate(found):
        company = categories.count(categories[clip]) if within else len(categories)
        assert (partner == clip) == (company == 1)
        assert not within or categories[partner] == categories[clip]


# Clips of a data set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    make_synthetic(out, SMALL, seed=1, workers=2, overwrite=False)
    return out


@pytest.fixture(scope="module")
def clips(made):
    return select(open_dataset(made, "test"), CATEGORIES, 3)


@pytest.fixture(scope="module")
def model(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "frame.safetensors"
    save_params(path, TINY, random_params(TINY))
    return open_models([path], open_dataset(made, "test"), CATEGORIES)[0]


def test_selected_are_the_first_of_each_category(clips):
    assert clips.clip_ids == [f"{name}-test-0000{i}" for name in CATEGORIES for i in range(3)]
    assert clips.first(3).clip_ids == ["dog-test-00000", "dog-test-00001", "drum-test-00000"]
    assert [clips[i].clip_id for i in range(6)] == clips.clip_ids
    with pytest.raises(InputError, match="--clips 0"):
        select(clips.data, CATEGORIES, 0)


def test_baselines_and_floor_bound_each_other(made, clips):
    """A unigram fitted on the clips themselves costs their entropy; none costs less than the floor.

    Uniform is log2 of the levels.
    """
    counts = level_counts(clips, TINY)
    assert counts.sum(axis=1).tolist() == clips.samples
    uniform, floors = uniform_bits(clips, 256), floor_bits(clips)
    assert uniform.tolist() == [8.0 * samples for samples in clips.samples]
    own = unigram_bits(counts, counts).sum()
    share = counts.sum(axis=0) / counts.sum()
    entropy = -(counts.sum(axis=0)[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy <= own <= entropy * 1.01
    train = level_counts(select(open_dataset(made, "train"), CATEGORIES, 2), TINY)
    other = unigram_bits(counts, train)
    assert np.isfinite(other).all() and own < other.sum() < uniform.sum()
    assert 0 < floors.sum() < own


def test_scores_depend_on_neither_order_nor_company_and_are_kept(clips, model, tmp_path):
    told: list[int] = []
    kept = ScoreCache(tmp_path / "kept.jsonl", {"of": "all"})
    own = np.arange(6)
    bits = pair_bits(model, clips, own, kept, told.append)
    assert sum(told) == sum(clips.samples)
    told.clear()
    again = ScoreCache(tmp_path / "kept.jsonl", {"of": "all"})
    assert pair_bits(model, clips, own, again, told.append).tolist() == bits.tolist()
    assert sum(told) == sum(clips.samples)
    for order in ([5, 0, 3], [4]):
        some = clips.taken(order)
        fresh = ScoreCache(tmp_path / f"{len(order)}.jsonl", {"of": "some"})
        found = pair_bits(model, some, np.arange(len(order)), fresh, told.append)
        np.testing.assert_allclose(found, bits[order], rtol=0, atol=1e-5 * clips.samples[0])
    shuffled = pair_bits(model, clips, np.roll(own, 1), kept, told.append)
    assert (shuffled != bits).all()


# Kept sounds and scores


def test_a_sound_that_is_gone_is_made_again_and_a_damaged_one_is_named(clips, model, tmp_path):
    two = clips.taken([0, 3])
    kept = ScoreCache(tmp_path / "made.jsonl", {})
    first = make_sounds(model, two, tmp_path, kept, 0, 1.0)
    wav = tmp_path / f"{two.clip_ids[1]}.wav"
    before = wav.read_bytes()
    wav.unlink()
    again = make_sounds(model, two, tmp_path, kept, 0, 1.0)
    assert wav.read_bytes() == before
    assert [sound.tobytes() for sound in again] == [sound.tobytes() for sound in first]
    wav.write_bytes(b"half")
    with pytest.raises(InputError, match=r"-00000\.wav: is damaged: remove .*made\.jsonl to make"):
        make_sounds(model, two, tmp_path, kept, 0, 1.0)


@settings(max_examples=30)
@given(st.data())
def test_whatever_a_killed_run_left_goes_on(tmp_path_factory, data):
    """A file cut anywhere behind its header: whole lines are there, the rest is scored again."""
    path = tmp_path_factory.mktemp("kept") / "scores.jsonl"
    values = {f"key {i}": [float(i), i / 3] for i in range(4)}
    kept = ScoreCache(path, {"model": "a"})
    for key, numbers in values.items():
        kept.add(key, numbers)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    again = ScoreCache(path, {"model": "a"})
    lines = whole[header:cut].count(b"\n") if cut >= header else 0
    assert [key for key in values if key in again] == list(values)[:lines]
    for key in values:
        if key not in again:
            again.add(key, values[key])
    assert path.read_bytes() == whole
    final = ScoreCache(path, {"model": "a"})
    assert {key: final[key] for key in values} == values


@pytest.mark.parametrize("damage", [b"[1, 2, 3]", b'["key", ["a"]]', b'"key"', b"{", b"\xff\xfe"])
@pytest.mark.parametrize("place", [0, 1])
def test_damaged_scores_are_one_line(tmp_path, damage, place):
    path = tmp_path / "scores.jsonl"
    lines = [b'{"model": "a"}', b'["key", [1.0]]', b""]
    lines[place] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=r"scores\.jsonl: (damaged|scores of)") as caught:
        ScoreCache(path, {"model": "a"})
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"\n".join(lines)


def test_scores_of_something_else_are_refused(tmp_path):
    path = tmp_path / "scores.jsonl"
    ScoreCache(path, {"model": "a", "data": "b"}).add("key", [1.0])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"scores\.jsonl: scores of other data: choose another"):
        ScoreCache(path, {"model": "a", "data": "c"})
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="of a under b: its score is not a finite number"):
        ScoreCache(tmp_path / "other.jsonl", {}).add("of a under b", [float("nan")])
    path.write_text(json.dumps({"model": "a", "data": "b"}) + "\nnot json\n")
    with pytest.raises(InputError, match="damaged: remove it"):
        ScoreCache(path, {"model": "a", "data": "b"})
