"""`python -m tools.contact_sheet`: figures of video frames and spectrograms."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tools import contact_sheet
from v2s_jax.config import Clock
from v2s_jax.datasets.synthetic.generator import CATEGORIES, make_clip


@pytest.mark.slow
def test_every_category_is_in_both_figures():
    clips = [make_clip(category, "test", 0, 0, Clock(), 6) for category in CATEGORIES]
    figure = contact_sheet.draw_frames(clips, Clock())
    rows = np.array(figure.axes).reshape(len(CATEGORIES), contact_sheet.COLUMNS)
    for clip, row in zip(clips, rows, strict=True):
        assert row[0].get_ylabel().replace("\n", "_") == clip.category
        for axes, frame in zip(row, clip.frames, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), frame)
    figure = contact_sheet.draw_spectrograms(clips, Clock())
    assert [axes.get_title() for axes in figure.axes] == list(CATEGORIES)
    plt.close("all")


@pytest.mark.slow
def test_command_writes_both_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sheet", "--out", str(tmp_path), "--video-frames", "6"])
    contact_sheet.main()
    assert {path.name for path in tmp_path.iterdir()} == {"pictures.png", "spectrograms.png"}
