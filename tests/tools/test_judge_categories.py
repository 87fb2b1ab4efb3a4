"""`python -m tools.judge_categories`: what is heard, with a tagger that is easy to predict."""

import sys

import numpy as np
import pytest

from tools import judge_categories
from v2s_jax.errors import InputError
from v2s_jax.media import write_wav

NAMES = sorted({name for members in judge_categories.GROUPS.values() for name in members})


def tag(window):
    """Hear a dog in what starts above 0, else a chainsaw."""
    scores = np.zeros(len(NAMES), np.float32)
    scores[NAMES.index("Bark" if window[0] > 0 else "Chainsaw")] = abs(window[0])
    return scores


@pytest.fixture
def tagger(tmp_path, monkeypatch):
    lines = ["index,mid,display_name", *(f'{i},/m/{i},"{name}"' for i, name in enumerate(NAMES))]
    (tmp_path / judge_categories.CLASS_MAP).write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(judge_categories, "open_tagger", lambda path: tag)
    return tmp_path / "yamnet.tflite"


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["judge", *map(str, words)])
    judge_categories.main()


def test_the_loudest_window_decides_and_short_sounds_are_repeated():
    columns = judge_categories.group_columns(NAMES)
    sound = np.full(judge_categories.WINDOW + judge_categories.HOP, 0.1, np.float32)
    sound[judge_categories.HOP] = -0.4
    for waveform, group in ((sound, "chainsaw"), (sound[:9], "dog")):
        scores = judge_categories.highest_scores(tag, waveform)
        assert judge_categories.name_sound(scores, columns) == group
        assert scores.max() == 1


def test_files_are_counted_by_folder_and_group(tagger, tmp_path, monkeypatch, capsys):
    sound = np.full(judge_categories.WINDOW, 0.5, np.float32)
    for category, sign in (("dog", 1), ("dog", -1), ("dog", 1), ("snoring", 1)):
        folder = tmp_path / "wavs" / category
        folder.mkdir(parents=True, exist_ok=True)
        write_wav(folder / f"{len(list(folder.iterdir()))}.wav", sign * sound, 16_000)
    run(monkeypatch, "--tagger", tagger, "--folder", tmp_path / "wavs")
    head, dog, snoring = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["category", "chainsaw", "dog", "right"]
    assert dog == ["dog", "1", "2", "2", "of", "3"]
    assert snoring == ["snoring", "-", "1", "0", "of", "1"]


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


def test_a_missing_runtime_or_file_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "yamnet.tflite"
    with pytest.raises(InputError, match="not a file"):
        judge_categories.open_tagger(path)
    path.touch()
    monkeypatch.setitem(sys.modules, judge_categories.RUNTIME, None)
    with pytest.raises(InputError, match="pip install ai-edge-litert"):
        judge_categories.open_tagger(path)
