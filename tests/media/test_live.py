"""Live video: pictures as they come, old ones left out, and what a player gets."""

import os
import threading
import time
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media import probe, read_audio_file, read_video_frames
from v2s_jax.media.decode import SourceFrame, read_source_frames
from v2s_jax.media.live import (
    LiveInput,
    LiveReader,
    find_player,
    open_camera,
    open_file,
    open_player,
    open_test_camera,
)
from v2s_jax.media.process import read_pipe

CLOCK = Clock()
PICTURE = np.zeros((1, 1, 3), np.uint8)
PICTURES = 20
GIVE_UP_SEC = 60
OLD = 2
"""Pictures of `pass_on` that a camera leaves out."""


def test_no_picture_waits_for_a_later_one():
    """As many as were written are read before the pipe ends: encoder threads hold some back."""
    video = run_ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc=size=32x32:rate=25:duration={PICTURES / 25}"),
        *("-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"),
    )
    end, start = os.pipe()
    all_read = threading.Event()
    was_in_time = []

    def write() -> None:
        with os.fdopen(start, "wb") as pipe:
            pipe.write(video)
            pipe.flush()
            was_in_time.append(all_read.wait(GIVE_UP_SEC))

    writer = threading.Thread(target=write)
    writer.start()
    frames = read_source_frames(partial(read_pipe, end), "0:V:0", 8, 8)
    for _ in range(PICTURES):
        next(frames)
    all_read.set()
    writer.join()
    assert not list(frames) and was_in_time == [True]
    os.close(end)


def test_a_file_has_its_own_video_frames(tmp_path: Path):
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.5", path)
    reader = LiveReader(open_file(path), CLOCK)
    expected = read_video_frames(probe(path), CLOCK, 16, 16)
    for image, other in zip(reader.read_video_frames(16, 16), expected, strict=True):
        np.testing.assert_array_equal(image, other)
    assert reader.shown_sec(7) - reader.shown_sec(0) == pytest.approx(7 * 0.064)


def test_a_camera_is_stamped_with_the_wall_clock():
    before = time.time()
    reader = LiveReader(open_test_camera().shortened(0.3), CLOCK)
    images = list(reader.read_video_frames(16, 16))
    assert len(images) == 5  # the last one is partial
    assert before < reader.shown_sec(0) < reader.shown_sec(4) < time.time() + 0.064


def pass_on(reader: LiveReader, *seconds: float) -> list[float]:
    """The times of the pictures that are passed on."""
    frames = (SourceFrame(Fraction(sec), Fraction(1, 25), PICTURE) for sec in seconds)
    passed_on = islice(reader._stamp(frames), len(seconds) - OLD)
    return [float(frame.time_sec) for frame in passed_on]


def test_old_pictures_of_a_camera_are_left_out_with_their_time():
    now, reader = time.time(), LiveReader(open_test_camera(), CLOCK)
    times = pass_on(reader, now - 10, now - 9, now + 100, now + 100.04, now + 108, now + 108.04)
    after_gap = 0.04 + 0.064
    assert times == pytest.approx([0, 0.04, after_gap, after_gap + 0.04], abs=1e-5)
    assert reader.shown_sec(0) == pytest.approx(now + 108 - after_gap + 0.032, abs=1e-5)


def test_a_file_keeps_all_pictures():
    reader = LiveReader(LiveInput("file", (), is_stamped=False), CLOCK)
    assert pass_on(reader, 3, 4, 5, 5.04, 9) == pytest.approx([0, 1, 2])


def test_a_camera_that_stops_is_an_error():
    camera = open_test_camera(0.2)
    with pytest.raises(InputError, match=r"^test picture: gives no more pictures: "):
        list(LiveReader(camera, CLOCK).read_video_frames(16, 16))


def test_a_device_that_is_no_camera(tmp_path: Path):
    path = tmp_path / "video7"
    with pytest.raises(InputError, match="video7: there is no such camera: connect one"):
        open_camera(str(path))
    path.write_bytes(b"no device")
    reader = LiveReader(open_camera(str(path)), CLOCK)
    with pytest.raises(InputError, match=r"video7: no picture can be read \(.+\): check"):
        list(reader.read_video_frames(16, 16))


def put_player(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make a program of this name the only one: what a player gets, without a sound device."""
    program = folder / "aplay"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_player_gets_a_wav_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    heard = tmp_path / "heard.wav"
    put_player(tmp_path, monkeypatch, f"exec /bin/cat > {heard}")
    waveform = np.linspace(-1, 1, 2_048, dtype=np.float32)
    assert find_player() == "aplay"
    with open_player("aplay", 16_000) as write:
        write(waveform[:1_024])
        write(waveform[1_024:])
    np.testing.assert_allclose(read_audio_file(heard, 16_000), waveform, atol=1e-4)


def test_a_player_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_player(tmp_path, monkeypatch, "echo no sound card >&2; exit 1")
    silence = np.zeros(2**17, np.float32)  # more than a pipe holds
    with (
        pytest.raises(InputError, match=r"^aplay: ended \(no sound card\): check the sound device"),
        open_player("aplay", 16_000) as write,
    ):
        write(silence)


def test_no_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_player("none") == "none"
    with pytest.raises(InputError, match=r"^ffplay and aplay: not installed: install ffmpeg"):
        find_player()
