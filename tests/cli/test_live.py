"""`v2s live`: the sound of a file at its own pace, and one line where something is missing."""

import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.ffmpeg import run_ffmpeg
from v2s_jax.checkpoints import save_params
from v2s_jax.cli.live import main
from v2s_jax.config import TINY, Clock
from v2s_jax.media import probe, read_video_frames
from v2s_jax.media.live import open_file
from v2s_jax.sonification import SampleOptions, stream
from v2s_jax.sonification.live import LiveModel

pytestmark = pytest.mark.usefixtures("compilation_cache")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.6", path)
    return path


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """A checkpoint that looks ahead."""
    config = with_model(TINY, variant="aligned")
    file = tmp_path_factory.mktemp("model") / "aligned.safetensors"
    save_params(file, config, random_params(config))
    return file


def test_live_sound_is_that_of_the_same_frames(video, aligned):
    options = SampleOptions(checkpoint=aligned, engine="scan")
    model = LiveModel(options)
    blocks = list(model.play(open_file(video), "none"))
    frames = list(read_video_frames(probe(video), Clock(), 128, 128))
    expected = [block.waveform for block in stream(frames, options)]
    np.testing.assert_array_equal([block.waveform for block in blocks], expected)
    lookahead = model.config.model.lookahead
    assert [block.delay is None for block in blocks[-lookahead - 1 :]] == [False, True, True]
    for block in blocks[:-lookahead]:
        assert min(block.delay) > 0
        assert block.delay.total_sec == pytest.approx(sum(block.delay))


def test_command(run_command, video, aligned):
    args = ["--checkpoint", aligned, "--engine", "scan", "--player", "none"]
    code, out, err = run_command(main, video, *args, "--seconds", "0.4")
    assert code == 0, err
    assert out.startswith("sound lags by 2 video frames (128 ms) and further ")
    assert "in 5 blocks\nthe same again: --engine scan " in out
    assert f"{video}: sound lags by 2 video frames" in err and "7 video frames" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--camera", "/dev/no-video"], "/dev/no-video: there is no such camera: "),
        (["VIDEO", "--camera", "0"], "--camera with a video file: give one"),
        (["VIDEO", "--seconds", "0"], "--seconds 0.0: use a number above 0"),
        (["VIDEO"], "ffplay and aplay: not installed: "),
        (["none.mp4", "--player", "none"], "none.mp4: no such file"),
        (["VIDEO", "--player", "none", "--checkpoint", "seq"], "seq: variant seq reads 10 s"),
    ],
)
def test_what_is_missing_is_one_line(run_command, video, monkeypatch, tmp_path, args, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run_command(main, *(video if arg == "VIDEO" else arg for arg in args))
    assert (code, out) == (2, "")
    error = err[err.index("error: ") :]
    assert error.startswith(f"error: {message}") and error.count("\n") == 1
