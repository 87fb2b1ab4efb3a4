"""The outside judge: a small tagger in its real runtime, and files that are none."""

import shutil
import sys
import zipfile

import numpy as np
import pytest

from tests.evaluation.audio import reference_clips, synthetic_clips
from tests.evaluation.tagger_fixture import CLASSES, FIXTURE, WINDOW, write_class_map
from v2s_jax.errors import InputError
from v2s_jax.evaluation.judge import (
    CLASS_MAP,
    RATE_HZ,
    RUNTIME,
    Judge,
    evaluate_judge,
    name_all,
    open_judge,
    read_class_names,
)
from v2s_jax.evaluation.judge_classes import CLASSES_OF_CATEGORY, classes_of
from v2s_jax.evaluation.report.network_tables import judge_table

CATEGORIES = ("chainsaw", "dog", "snoring")


@pytest.fixture
def tagger(tmp_path):
    path = tmp_path / "tagger.tflite"
    shutil.copy(FIXTURE, path)
    write_class_map(tmp_path / CLASS_MAP)
    return path


def tag(window: np.ndarray) -> np.ndarray:
    """Do as the tagger of the fixture does."""
    return np.maximum(np.array([window[0], -window[0], 0.0], np.float32), 0.0)


@pytest.fixture
def judge(tagger) -> Judge:
    classes = {"chainsaw": ["Chainsaw"], "dog": ["Bark"]}
    return Judge(tagger, "", tag, WINDOW, classes, {"chainsaw": [1], "dog": [0]})


def test_a_tagger_in_its_runtime(tagger):
    pytest.importorskip(RUNTIME)
    judge = open_judge(tagger, CATEGORIES)
    assert (judge.window, judge.columns) == (WINDOW, {"chainsaw": [1], "dog": [0]})
    window = np.random.default_rng(0).normal(size=WINDOW).astype(np.float32)
    np.testing.assert_allclose(judge.tag(window), tag(window), rtol=1e-6)
    write_class_map(tagger.with_name(CLASS_MAP), CLASSES[:2])
    with pytest.raises(InputError, match="scores 3 classes, its class map names 2"):
        open_judge(tagger, CATEGORIES)


def test_the_loudest_window_decides_and_short_sounds_are_repeated(judge):
    sound = np.full(WINDOW + WINDOW // 2, 0.1, np.float32)
    sound[WINDOW // 2] = -0.4
    for waveform, category in ((sound, "chainsaw"), (sound[:3], "dog")):
        assert judge.name(waveform, RATE_HZ) == category
        assert judge.highest_scores(waveform).max() == 1


def test_accuracy_is_of_the_categories_that_the_judge_knows(judge):
    of_category = (synthetic_clips(name, "test", 2, 4) for name in ("dog", "chainsaw", "snoring"))
    clips = reference_clips([clip for clips in of_category for clip in clips])
    ones = [np.ones(WINDOW, np.float32)] * 6
    right = [*ones[:2], *(-one for one in ones[2:4]), *ones[4:]]
    named = {
        name: name_all(judge, audio, clips, name)
        for name, audio in (("model", ones), ("reference", right))
    }
    assert named["model"] == ["dog"] * 4 + [None] * 2
    results = evaluate_judge(judge, named, clips)
    assert results.unknown == ["snoring"]
    report = results.metrics["model"]
    assert (report.accuracy.value, report.ceiling.value, report.chance) == (0.5, 1.0, 0.5)
    assert report.confusion == [[0, 2], [0, 2]]
    table = judge_table(results)
    assert [row[:3] for row in table.rows] == [
        ["chainsaw", "0.0", "100.0"],
        ["dog", "100.0", "100.0"],
        ["all clips", "50.0", "100.0"],
    ]
    assert "without clips of snoring" in table.as_text()


def test_classes_of_categories_as_they_are_spelled():
    assert classes_of("001 - Dog bark", ()) == CLASSES_OF_CATEGORY["dog"]
    assert classes_of("Person sneeze", ()) == ("Sneeze",)
    assert classes_of("808", ()) == ()
    assert "Rain" in classes_of("water_flowing", ("water_flowing", "dog"))
    assert "Rain" not in classes_of("water_flowing", ("water_flowing", "rain"))
    assert "Rain" in classes_of("rain", ("water_flowing", "rain"))


def test_names_of_classes_from_metadata(tagger):
    with zipfile.ZipFile(tagger, "a") as archive:
        archive.writestr("labels.txt", "One\nTwo\n")
    assert read_class_names(tagger) == ["One", "Two"]


def refused(path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        open_judge(path, CATEGORIES)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_judge_are_one_line(tagger, monkeypatch):
    refused(tagger.with_name("missing.tflite"), r"missing\.tflite: cannot be read")
    other = tagger.with_name("other.tflite")
    other.write_bytes(b"not a tagger")
    refused(other, r"other\.tflite: not a TFLite file")
    monkeypatch.setitem(sys.modules, RUNTIME, None)
    refused(tagger, "not installed: pip install ai-edge-litert")
    tagger.with_name(CLASS_MAP).write_text("a,b\n1,2\n")
    refused(tagger, "has no column display_name")
    tagger.with_name(CLASS_MAP).unlink()
    refused(tagger, rf"{CLASS_MAP}: not found")


def test_a_damaged_tagger_is_one_line(tagger):
    pytest.importorskip(RUNTIME)
    tagger.write_bytes(tagger.read_bytes()[:100])
    refused(tagger, "cannot be read as TFLite")


def test_a_judge_knows_two_categories(tagger):
    pytest.importorskip(RUNTIME)
    write_class_map(tagger.with_name(CLASS_MAP), ("Bark", "Speech", "Music"))
    refused(tagger, "has classes for dog of chainsaw, dog, snoring: a judge needs two")
