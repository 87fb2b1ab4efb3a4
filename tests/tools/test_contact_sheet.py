"""`python -m tools.contact_sheet`: pages of pictures and spectrograms."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tools import contact_sheet as sheet
from v2s_jax.cli.run import run_cli
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip


def test_every_category_is_on_both_pages():
    clips = [make_clip(category, "test", 0, 0, Clock(), 6) for category in CATEGORIES]
    shown = sheet.pictures(clips, Clock())
    rows = np.array(shown.axes).reshape(len(CATEGORIES), sheet.COLUMNS)
    for clip, row in zip(clips, rows, strict=True):
        assert row[0].get_ylabel().replace("\n", "_") == clip.category
        for axes, frame in zip(row, clip.frames, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), frame)
    heard = sheet.spectrograms(clips, Clock())
    assert [axes.get_title() for axes in heard.axes] == list(CATEGORIES)
    plt.close("all")


@pytest.mark.slow
def test_the_command_writes_both(tmp_path, monkeypatch):
    words = ["--out", str(tmp_path / "pages"), "--video-frames", "6"]
    monkeypatch.setattr(sys, "argv", ["sheet", *words])
    sheet.main()
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names == {sheet.PICTURES, sheet.SPECTROGRAMS}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--video-frames 3", "--video-frames 3: at least 6 are drawn"),
        ("--seed -1", "--seed -1: use a whole number from 0 on"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.setattr(sys, "argv", ["sheet", "--out", str(tmp_path / "pages"), *words.split()])
    with pytest.raises(SystemExit) as caught:
        run_cli(sheet.main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {says}\n"
    assert not (tmp_path / "pages").exists()
