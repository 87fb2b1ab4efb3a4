"""`python -m tools.judge_categories`: what is heard, with a tagger that is easy to predict."""

import sys

import numpy as np
import pytest

from tools import judge_categories
from v2s_jax.errors import InputError
from v2s_jax.evaluation.judge import RATE_HZ, Judge
from v2s_jax.evaluation.judge_classes import CLASSES_OF_CATEGORY, classes_of
from v2s_jax.media import write_wav

NAMES = sorted({name for members in CLASSES_OF_CATEGORY.values() for name in members})
WINDOW = 15_600


def tag(window):
    """Hear a dog in what starts above 0, else a chainsaw."""
    scores = np.zeros(len(NAMES), np.float32)
    scores[NAMES.index("Bark" if window[0] > 0 else "Chainsaw")] = abs(window[0])
    return scores


@pytest.fixture
def tagger(tmp_path, monkeypatch):
    def open_judge(path, categories):
        classes = {name: classes_of(name, categories) for name in categories}
        columns = {name: list(map(NAMES.index, found)) for name, found in classes.items()}
        return Judge(path, "", tag, WINDOW, classes, columns)

    monkeypatch.setattr(judge_categories, "open_judge", open_judge)
    return tmp_path / "yamnet.tflite"


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["judge", *map(str, words)])
    judge_categories.main()


def test_files_are_counted_by_folder_and_group(tagger, tmp_path, monkeypatch, capsys):
    sound = np.full(WINDOW, 0.5, np.float32)
    for category, sign in (("001 - Dog", 1), ("001 - Dog", -1), ("001 - Dog", 1), ("snoring", 1)):
        folder = tmp_path / "wavs" / category
        folder.mkdir(parents=True, exist_ok=True)
        write_wav(folder / f"{len(list(folder.iterdir()))}.wav", sign * sound, RATE_HZ)
    run(monkeypatch, "--tagger", tagger, "--folder", tmp_path / "wavs")
    head, dog, snoring = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["category", "001", "-", "Dog", "chainsaw", "right"]
    assert dog == ["001", "-", "Dog", "2", "1", "2", "of", "3"]
    assert snoring == ["snoring", "1", "-", "0", "of", "1"]


def test_a_preset_is_rendered(tagger, monkeypatch, capsys):
    run(monkeypatch, "--tagger", tagger, "--preset", "pair")
    assert "of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clips", "0"], "--clips 0"),
        (["--split", "tests"], "did you mean test"),
        (["--folder", "."], "no folder is named after a category"),
    ],
)
def test_what_cannot_be_judged_is_one_line(words, message, tagger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        run(monkeypatch, "--tagger", tagger, *words)
    assert "\n" not in str(caught.value)
