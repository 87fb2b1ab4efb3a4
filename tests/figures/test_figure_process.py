"""Figures that are drawn in a process of their own."""

import os
import signal
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.child_processes import children, is_running, needs_proc
from v2s_jax.errors import InputError
from v2s_jax.figures import FigureProcess, key_frame_figure

AUDIO = np.sin(np.arange(1_600, dtype=np.float32) / 5)
FRAME = np.full((16, 16, 3), 200, np.uint8)


def test_the_picture_is_that_of_this_process(tmp_path: Path) -> None:
    with closing(FigureProcess()) as figures:
        drawn = [
            figures.draw(tmp_path / f"{n}.png", [FRAME], [0.05], AUDIO, 16_000, str(n))
            for n in range(2)
        ]
        assert [future.result() for future in drawn] == [None, None]
    for number in range(2):
        key_frame_figure(tmp_path / "here.png", [FRAME], [0.05], AUDIO, 16_000, str(number))
        there, here = (Image.open(tmp_path / f"{name}.png") for name in (number, "here"))
        np.testing.assert_array_equal(np.asarray(there), np.asarray(here))


def test_errors_arrive_and_the_next_figure_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(FigureProcess()) as figures:
        with pytest.raises(ValueError):
            figures.draw(tmp_path / "empty.png", [], [], AUDIO[:0], 16_000, "").result()
        with pytest.raises(InputError, match=r"file"):
            figures.draw(tmp_path / "file" / "a.png", [], [], AUDIO, 16_000, "").result()
        figures.draw(tmp_path / "b.png", [], [], AUDIO, 16_000, "").result()
    assert (tmp_path / "b.png").exists()


@needs_proc
def test_the_process_ends_when_it_is_closed_or_before(tmp_path: Path) -> None:
    before = set(children())
    with closing(FigureProcess()) as figures:
        (process,) = set(children()) - before
        os.kill(process, signal.SIGKILL)
        with pytest.raises(InputError, match=r"a\.png: the process that draws it has ended"):
            figures.draw(tmp_path / "a.png", [], [], AUDIO, 16_000, "").result()
    with closing(FigureProcess()):
        (process,) = set(children()) - before
    assert not is_running(process)


@needs_proc
def test_all_figures_share_a_process_that_starts_again(tmp_path: Path) -> None:
    FigureProcess.shared().draw(tmp_path / "first.png", [], [], AUDIO, 16_000, "").result()
    before = set(children())
    figures = FigureProcess.shared()
    assert set(children()) == before
    (process,) = (pid for pid in before if is_drawing(pid))
    os.kill(process, signal.SIGKILL)
    with pytest.raises(InputError, match="has ended"):
        figures.draw(tmp_path / "a.png", [], [], AUDIO, 16_000, "").result()
    FigureProcess.shared().draw(tmp_path / "b.png", [], [], AUDIO, 16_000, "").result()
    assert (tmp_path / "b.png").exists()


def is_drawing(pid: int) -> bool:
    return b"v2s_jax.figures" in Path(f"/proc/{pid}/cmdline").read_bytes()
