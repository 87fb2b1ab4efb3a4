"""Clips, cached scores and generated audio of a small dataset; a killed run resumes."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import random_params
from v2s_jax.checkpoints import save_params
from v2s_jax.config import TINY
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import Selection, find_videos, read_labels, reference_audio, select
from v2s_jax.evaluation.generation import choose_engines, load_or_generate
from v2s_jax.evaluation.likelihood import (
    floor_bits,
    level_counts,
    pair_bits,
    unigram_bits,
)
from v2s_jax.evaluation.models import open_models
from v2s_jax.evaluation.score_cache import ScoreCache

CATEGORIES = ("dog", "drum")
SMALL = Preset("small", train_clips=2, test_clips=3, video_frames=6, categories=CATEGORIES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("dataset")
    generate_dataset(out, DatasetSpec(SMALL, seed=1), workers=1)
    return out


@pytest.fixture(scope="module")
def clips(dataset):
    return select(open_dataset(dataset, "test"), CATEGORIES, 3)


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "frame.safetensors"
    save_params(path, TINY, random_params(TINY))
    return open_models([path], open_dataset(dataset, "test"), CATEGORIES)[0]


def test_first_clips_of_each_category_are_selected(clips):
    assert clips.clip_ids == [f"{name}-test-0000{i}" for name in CATEGORIES for i in range(3)]
    balanced = clips.subset(clips.balanced(3))
    assert balanced.clip_ids == ["dog-test-00000", "dog-test-00001", "drum-test-00000"]
    assert [clips[i].clip_id for i in range(6)] == clips.clip_ids
    with pytest.raises(InputError, match="--clips 0"):
        select(clips.data, CATEGORIES, 0)


def test_a_category_without_clips_in_the_split_is_left_out(clips, caplog):
    only_dogs = clips.data.of_category("dog")
    chosen = select(only_dogs, CATEGORIES, 1)
    assert chosen.clip_ids == ["dog-test-00000"]
    assert caplog.messages == ["warning: no clip in split test: drum"]
    with pytest.raises(InputError, match="no clip of drum in split test: choose another"):
        select(only_dogs, ["drum"], 1)


def test_reference_audio_is_in_the_levels_of_the_model(clips):
    for clip in range(2):
        audio = reference_audio(clips[clip], TINY.model)
        assert len(np.unique(audio)) <= TINY.model.q_levels
        assert np.abs(audio - clips[clip].waveform / 32_768).max() <= 1 / 256 + 1e-6


def test_baselines_and_floor_bound_each_other(dataset, clips):
    """A unigram fitted on the clips themselves costs their entropy; none costs less than the floor.

    Uniform is log2 of the levels.
    """
    counts = level_counts(clips, TINY)
    assert counts.sum(axis=1).tolist() == clips.samples
    uniform, floors = 8.0 * sum(clips.samples), floor_bits(clips)
    own = unigram_bits(counts, counts).sum()
    share = counts.sum(axis=0) / counts.sum()
    entropy = -(counts.sum(axis=0)[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy <= own <= entropy * 1.01
    train = level_counts(select(open_dataset(dataset, "train"), CATEGORIES, 2), TINY)
    other = unigram_bits(counts, train)
    assert np.isfinite(other).all() and own < other.sum() < uniform
    assert 0 < floors.sum() < own


def test_scores_are_batch_invariant_and_cached(clips, model, tmp_path):
    cache = ScoreCache(tmp_path / "scores.jsonl", {"of": "all"})
    own = np.arange(6)
    bits = pair_bits(model, clips, own, cache, "")
    again = ScoreCache(tmp_path / "scores.jsonl", {"of": "all"})
    assert pair_bits(model, clips, own, again, "").tolist() == bits.tolist()
    for order in ([5, 0, 3], [4]):
        fresh = ScoreCache(tmp_path / f"{len(order)}.jsonl", {"of": "some"})
        some = pair_bits(model, clips.subset(order), np.arange(len(order)), fresh, "")
        np.testing.assert_allclose(some, bits[order], rtol=0, atol=1e-5 * clips.samples[0])
    shuffled = pair_bits(model, clips, np.roll(own, 1), cache, "")
    assert (shuffled != bits).all()


@pytest.mark.slow
def test_missing_audio_is_generated_again_and_corrupt_audio_refused(
    clips, model, tmp_path, engine_of_auto
):
    two = clips.subset([0, 3])
    cache = ScoreCache(tmp_path / "made.jsonl", {})
    choices = choose_engines(model, two, "auto", "auto", None)
    assert [choice.engine for choice in choices] == [engine_of_auto]
    first = load_or_generate(model, two, tmp_path, cache, 0, 1.0, choices)
    wav = tmp_path / f"{two.clip_ids[1]}.wav"
    before = wav.read_bytes()
    wav.unlink()
    again = load_or_generate(model, two, tmp_path, cache, 0, 1.0, choices)
    assert wav.read_bytes() == before
    assert [sound.tobytes() for sound in again] == [sound.tobytes() for sound in first]
    wav.write_bytes(b"half")
    with pytest.raises(InputError, match=r"-00000\.wav: corrupt: remove .*made\.jsonl to generate"):
        load_or_generate(model, two, tmp_path, cache, 0, 1.0, choices)


@settings(max_examples=30)
@given(st.data())
def test_truncated_cache_resumes(tmp_path_factory, data):
    """A file cut anywhere: complete lines are kept, the others are written again."""
    path = tmp_path_factory.mktemp("cache") / "scores.jsonl"
    values = {f"key {i}": [float(i), i / 3] for i in range(4)}
    cache = ScoreCache(path, {"model": "a"})
    for key, numbers in values.items():
        cache.add(key, numbers)
    content = path.read_bytes()
    header = content.index(b"\n") + 1
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    again = ScoreCache(path, {"model": "a"})
    lines = content[header:cut].count(b"\n") if cut >= header else 0
    assert [key for key in values if key in again] == list(values)[:lines]
    for key in values:
        if key not in again:
            again.add(key, values[key])
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"[1, 2, 3]", b'["key", ["a"]]', b'"key"', b"{", b"\xff\xfe"])
@pytest.mark.parametrize("number", [0, 1])
def test_corrupt_cache_is_refused_and_kept(tmp_path, line, number):
    path = tmp_path / "scores.jsonl"
    lines = [b'{"model": "a"}', b'["key", [1.0]]', b""]
    lines[number] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=r"scores\.jsonl: (corrupt|scores of)") as caught:
        ScoreCache(path, {"model": "a"})
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"\n".join(lines)


def test_scores_of_another_identity_are_refused(tmp_path):
    path = tmp_path / "scores.jsonl"
    ScoreCache(path, {"model": "a", "data": "b"}).add("key", [1.0])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"scores\.jsonl: scores of other data: choose another"):
        ScoreCache(path, {"model": "a", "data": "c"})
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="of a under b: its score is not a finite number"):
        ScoreCache(tmp_path / "other.jsonl", {}).add("of a under b", [float("nan")])


def test_labels_must_be_there_and_fit(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    label = copy / "clips" / "drum" / "drum-test-00000.json"
    clips = select(open_dataset(copy, "test"), ["drum"], 1)
    content = json.loads(label.read_text())
    label.write_text(json.dumps(content | {"recipe": content["recipe"] | {"seed": 4}}))
    with pytest.raises(InputError, match=r"drum-test-00000\.json: made with another seed"):
        read_labels(clips)
    label.write_text("{}")
    with pytest.raises(InputError, match="not the label of a clip"):
        read_labels(clips)
    label.unlink()
    with pytest.raises(InputError, match=r"drum-test-00000\.json: .*synthetic data only"):
        read_labels(clips)


def test_videos_are_found_next_to_synthetic_clips_or_by_a_manifest(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")

    def clips() -> Selection:
        return select(open_dataset(copy, "test"), ["drum"], 2)

    videos = find_videos(clips(), None)
    assert list(videos) == ["drum-test-00000", "drum-test-00001"]
    assert videos["drum-test-00000"].pass_sec == 6 * 1_024 / 16_000
    folder = (copy / "clips" / "drum").rename(tmp_path / "videos")
    assert find_videos(clips(), None) == {}
    with pytest.raises(InputError, match=r"manifest\.jsonl: cannot be read"):
        find_videos(clips(), folder)
    rows = [
        {"clip_id": "drum-test-00000", "source": "drum-test-00000.mp4", "video_frames": 3},
        {"clip_id": "drum-test-00001", "source": "gone.mp4", "video_frames": 6},
    ]
    lines = [json.dumps(row | {"status": "used"}) for row in rows]
    lines.append(json.dumps({"clip_id": None, "source": "a.txt", "status": "rejected"}))
    manifest = clips().data.directory.parent / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    expected = {"drum-test-00000": (folder / "drum-test-00000.mp4", 3 * 1_024 / 16_000)}
    assert find_videos(clips(), folder) == expected
    with pytest.raises(InputError, match="none of the 2 clips"):
        find_videos(clips(), tmp_path)
    manifest.write_text("{}")
    with pytest.raises(InputError, match="not a manifest"):
        find_videos(clips(), folder)
