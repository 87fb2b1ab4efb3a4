"""`python -m tools.synthetic_speed`: how fast clips are made; no test is about time itself."""

import sys

import pytest

from tools import synthetic_speed as speed
from tools.synthetic_speed import Timed, rows_of
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets.synthetic.generator import CATEGORIES


def test_rows_are_seconds_of_clips_over_seconds_that_all_processes_took():
    timed = [
        Timed("drum", 2.0, 0.1, 0.01, 0.4),
        Timed("drum", 2.0, 0.3, 0.01, 0.4),
        Timed("dog", 2.0, 0.4, 0.02, 0.4),
    ]
    rows = rows_of(timed, workers=2)
    assert [row.category for row in rows] == ["dog", "drum", "all"]  # the set's own order
    dog, drum, every = rows
    assert drum.making == pytest.approx(2 * 4.0 / 0.4)
    assert drum.floor == pytest.approx(2 * 4.0 / 0.02)
    assert dog.encoding == pytest.approx(2 * 2.0 / 0.4)
    assert dog.together == pytest.approx(2 * 2.0 / 0.82)
    assert every.making == pytest.approx(2 * 6.0 / 0.8)


@pytest.mark.slow
def test_the_command_times_every_category(monkeypatch, capsys):
    words = ["speed", "--clips", "1", "--video-frames", "1", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", words)
    speed.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("synthetic clips, 1 processes")
    assert [line.split()[0] for line in lines[4:15]] == [*CATEGORIES, "all"]
    assert all(float(figure) > 0 for line in lines[4:15] for figure in line.split()[1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clips", "0"], "--clips 0: must be at least 1"),
        (["--video-frames", "0"], "--video-frames 0: must be at least 1"),
        (["--workers", "-1"], "--workers -1: must be at least 1"),
        (["--seed", "-1"], "seed -1: use a whole number from 0 on"),
    ],
)
def test_bad_words_are_one_line(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", *words])
    with pytest.raises(SystemExit) as caught:
        run_cli(speed.main)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
