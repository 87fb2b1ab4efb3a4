"""Inputs that last for hours: refused for themselves, or read as far as needed."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.media.test_odd_files import write_gap
from v2s_jax.config import TINY, Clock
from v2s_jax.errors import InputError
from v2s_jax.media import probe, write_wav
from v2s_jax.sonification import SampleOptions, sonify
from v2s_jax.sonification.clips import MAX_CLIP_SEC, open_clips
from v2s_jax.sonification.outputs import Report


def test_a_long_video_fails_alone(tmp_path: Path) -> None:
    for name, gap_sec in (("long", MAX_CLIP_SEC), ("years", 10**6), ("short", 0.5)):
        write_gap(tmp_path / f"{name}.mkv", gap_sec)
    sources = [tmp_path / f"{name}.mkv" for name in ("long", "years", "short")]
    report = Report()
    folders = dict.fromkeys(sources, Path())
    with ThreadPoolExecutor() as executor:
        probes = {source: executor.submit(probe, source) for source in sources}
        clips = open_clips(folders, probes, tmp_path / "out", TINY, SampleOptions(), report)
    assert [clip.video.path for clip in clips] == sources[2:]
    assert list(report.failed) == sources[:2]
    assert "more than 1800 s: cut it, or use --stream" in report.failed[sources[0]]
    assert "more than 24 hours" in report.failed[sources[1]]


def test_prefix_that_is_no_file(tmp_path: Path, checkpoint: Path) -> None:
    write_gap(tmp_path / "a.mkv", 0.5)
    os.mkfifo(tmp_path / "fifo")
    options = SampleOptions(checkpoint=checkpoint, prefix=tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo: is not a regular file"):
        sonify(tmp_path / "a.mkv", tmp_path / "out", options)


def test_prefix_is_read_up_to_the_longest_clip(tmp_path: Path, checkpoint: Path) -> None:
    write_gap(tmp_path / "a.mkv", 0.5)
    write_wav(tmp_path / "long.wav", np.zeros(20 * Clock().sample_rate_hz, np.float32), 16_000)
    options = SampleOptions(checkpoint=checkpoint, prefix=tmp_path / "long.wav")
    report = sonify(tmp_path / "a.mkv", tmp_path / "out", options)
    (message,) = report.failed.values()
    assert "give a shorter --prefix" in message
    assert not report.generated
