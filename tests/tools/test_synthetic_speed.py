"""`python -m tools.synthetic_speed`: the command runs; no test is about time."""

import sys

import pytest

from tools import synthetic_speed
from v2s_jax.datasets.synthetic.generator import CATEGORIES


@pytest.mark.slow
def test_command_times_every_category(monkeypatch, capsys):
    argv = ["speed", "--clips", "1", "--video-frames", "1", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", argv)
    synthetic_speed.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == [*CATEGORIES, "all"]
    assert all(float(figure) > 0 for line in lines for figure in line.split()[1:])
