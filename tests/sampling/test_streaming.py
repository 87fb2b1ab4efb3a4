"""Endless sound: blocks with carry in and out, pipes, wavs that grow, exact lengths."""

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.commands import main as benchmark
from tests.conftest import random_params, with_model
from tests.ffmpeg import run_ffmpeg
from v2s_jax.checkpoints import save_params
from v2s_jax.cli import sample
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.media import StreamingWav, write_clip
from v2s_jax.sampling import Request, Sampler, clip_key
from v2s_jax.sampling.streaming import first_carry, stream
from v2s_jax.sonification import sonify
from v2s_jax.sonification import streaming as live
from v2s_jax.sonification.streaming import stream_video

ROOT = Path(__file__).parents[2]
KEY = clip_key(3, b"a stream")


def made(variant: str, video_frames: int):
    config = with_model(TINY, variant=variant)
    sampler = Sampler(config, random_params(config), batch_size=2)
    random = np.random.default_rng(0)
    features = random.random((video_frames, config.model.feature_dim)).astype(np.float16)
    return sampler, features


@pytest.mark.parametrize("variant", ["frame", "seq", "flow"])
def test_a_stream_is_the_whole_clip_and_goes_on_from_any_carry(variant):
    sampler, features = made(variant, 11)
    whole = sampler.generate([Request(KEY, 11 * 1024, features)])[0]
    blocks = list(stream(sampler, iter(features), first_carry(sampler, KEY)))
    np.testing.assert_array_equal(np.concatenate([b.levels for b in blocks]), whole)
    assert {len(b.levels) for b in blocks} == {1024}
    for paused in (1, 4, 10):
        rest = stream(sampler, features[paused:], blocks[paused - 1].carry)
        found = np.concatenate([b.levels for b in rest])
        np.testing.assert_array_equal(found, whole[paused * 1024 :])


@pytest.mark.parametrize("variant", ["seq", pytest.param("flow", marks=pytest.mark.slow)])
def test_pauses_inside_windows_and_between_them_change_nothing(variant):
    sampler, features = made(variant, 11)
    blocks = list(stream(sampler, features, first_carry(sampler, KEY), window=4))
    whole = np.concatenate([b.levels for b in blocks])
    assert [b.carry.ahead for b in blocks] == [3, 2, 1, 0, 3, 2, 1, 0, 2, 1, 0]
    for paused in (3, 4, 6, 9):
        carry = jax.tree.map(np.asarray, blocks[paused - 1].carry)  # as it comes from a file
        rest = stream(sampler, features[paused:], carry, window=4)
        found = np.concatenate([b.levels for b in rest])
        np.testing.assert_array_equal(found, whole[paused * 1024 :])


def test_a_stream_of_pictures_goes_on_from_any_carry(tmp_path):
    """Flow too, whose window has seen the motion of its first picture before the pause."""
    config = with_model(TINY, variant="flow")
    file = tmp_path / "flow.safetensors"
    save_params(file, config, random_params(config))
    pictures = list(np.random.default_rng(4).integers(0, 256, (6, 128, 128, 3), np.uint8))
    blocks = list(live.stream(pictures, checkpoint=file))
    rest = live.stream(pictures[2:], checkpoint=file, carry=blocks[1].carry)
    for one, other in zip(rest, blocks[2:], strict=True):
        np.testing.assert_array_equal(one.waveform, other.waveform)


def test_frame_sounds_each_video_frame_as_it_comes():
    sampler, features = made("frame", 3)
    read = []
    vectors = (read.append(i) or vector for i, vector in enumerate(features))
    seen = [len(read) for _ in stream(sampler, vectors, first_carry(sampler, KEY))]
    assert seen == [1, 2, 3]


def test_what_windows_keep_and_lose():
    """A window hears nothing of the next one, nor sees the one before; its samples go on."""
    sampler, features = made("seq", 8)
    start = first_carry(sampler, KEY)

    def levels(seen, window=4):
        blocks = stream(sampler, seen, start, window=window)
        return np.concatenate([b.levels for b in blocks])

    whole, windows = levels(features, 8), levels(features)
    later, earlier = features.copy(), features.copy()
    later[4:] = later[4:][::-1]
    earlier[:4] = earlier[:4][::-1]
    first = slice(0, 4 * 1024)
    np.testing.assert_array_equal(levels(later)[first], windows[first])
    assert (whole[first] != windows[first]).mean() > 0.01, (
        "the whole video is seen, a window is not"
    )
    carried = list(stream(sampler, features[:4], start, window=4))[-1].carry
    cold = start._replace(video_frame=4)
    warm_again, cold_again = (
        np.concatenate([b.levels for b in stream(sampler, features[4:], c, window=4)])
        for c in (carried, cold)
    )
    np.testing.assert_array_equal(warm_again, windows[4 * 1024 :])
    assert (cold_again != warm_again).any(), "the middle tier and the last samples are carried"


def make_video(path: Path, pictures: int, fps: int = 25) -> Path:
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, (pictures, 48, 64, 3), np.uint8)
    silence = np.zeros(round(pictures / fps * 16_000), np.float32)
    write_clip(path, frames, Fraction(fps), silence, 16_000)
    return path


def samples_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_a_streamed_file_is_the_sonified_one(tmp_path, checkpoint):
    video = make_video(tmp_path / "v.mp4", 33)
    report = sonify(video, tmp_path / "out", checkpoint=checkpoint)
    samples, _ = stream_video(video, tmp_path / "v.wav", checkpoint=checkpoint)
    assert samples == round(33 / 25 * 16_000)
    assert samples_of(tmp_path / "v.wav") == samples_of(report.sounded[0].wav)
    with pytest.raises(InputError, match="there already"):
        stream_video(video, tmp_path / "v.wav", checkpoint=checkpoint)


@pytest.mark.parametrize("pictures", [33, 40, 41])
def test_a_pipe_is_sounded_to_the_sample(tmp_path, checkpoint, pictures):
    """Through the program: Matroska on stdin, raw PCM on stdout, words on stderr."""
    video = make_video(tmp_path / "v.mp4", pictures)
    data = run_ffmpeg("-i", video, "-c", "copy", "-f", "matroska", "pipe:1")
    words = ["--stream", "--video", "-", "--out", "-", "--checkpoint", checkpoint]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "sample.py"), *map(str, words)], input=data, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout) == 2 * round(pictures / 25 * 16_000)
    assert len(set(ended.stdout)) > 50


def test_a_pipe_that_holds_no_video(tmp_path, checkpoint):
    old = tmp_path / "o.wav"
    old.write_bytes(b"old")
    words = ["--stream", "--video", "-", "--out", str(old), "--overwrite"]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "sample.py"), *words, "--checkpoint", str(checkpoint)],
        input=b"this is no video",
        capture_output=True,
    )
    assert ended.returncode == 2
    assert b"error: standard input: no video" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("words", ["--takes 2", "--original keep", "--original-gain-db 6"])
def test_words_that_a_stream_does_not_know_are_refused(tmp_path, monkeypatch, words):
    out = tmp_path / "o.wav"
    line = ["sample.py", "--stream", "--video", "v.mp4", "--out", str(out), *words.split()]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(InputError, match="--stream with --takes, --prefix, --original or"):
        sample.main()
    assert not out.exists()


def test_standard_output_on_a_full_disk(monkeypatch):
    """/dev/full answers every write as a full disk does."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with (
            pytest.raises(InputError, match=r"standard output: cannot be written \(No space left"),
            live._sink(live.PIPE, 16_000, overwrite=False) as write,
        ):
            write(np.zeros(1024, np.float32))


def test_a_growing_wav_is_whole_at_every_instant(tmp_path):
    path = tmp_path / "growing.wav"
    with StreamingWav(path, 16_000, overwrite=False) as wav:
        assert not path.exists()
        for blocks in range(1, 4):
            wav.write(np.full(1024, 0.5, np.float32))
            assert len(samples_of(path)) == 2 * 1024 * blocks
    assert [file.name for file in tmp_path.iterdir()] == ["growing.wav"]


def test_an_old_wav_stays_until_there_is_sound(tmp_path):
    path = tmp_path / "old.wav"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="bad"), StreamingWav(path, 16_000, overwrite=True):
        raise InputError("the input turns out bad")
    assert path.read_bytes() == b"old"
    with pytest.raises(InputError, match="there already"):
        StreamingWav(path, 16_000, overwrite=False)
    with StreamingWav(path, 16_000, overwrite=True) as wav:
        assert path.read_bytes() == b"old"
        wav.write(np.zeros(1024, np.float32))
        assert len(samples_of(path)) == 2 * 1024
    mine = tmp_path / "mine.wav"
    with (
        pytest.raises(InputError, match="there already"),
        StreamingWav(mine, 16_000, overwrite=False) as wav,
    ):
        mine.write_bytes(b"made meanwhile")
        wav.write(np.zeros(1024, np.float32))
    assert mine.read_bytes() == b"made meanwhile"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.wav", "old.wav"]


def test_bad_options(tmp_path, checkpoint):
    video = make_video(tmp_path / "v.mp4", 3)
    with pytest.raises(InputError, match=r"ends in \.wav, or -"):
        stream_video(video, tmp_path / "v.mp3", checkpoint=checkpoint)
    sampler, features = made("frame", 2)
    with pytest.raises(InputError, match="window of 0"):
        list(stream(sampler, features, first_carry(sampler, KEY), window=0))
    features[1] = np.nan
    with pytest.raises(InputError, match=r"NaN .* first in number 1"):
        list(stream(sampler, features, first_carry(sampler, KEY)))


@pytest.mark.slow
def test_what_the_benchmark_tells(capsys, monkeypatch):
    words = "streaming --preset tiny --batch-size 1 --video-frames 3 --clips 1 --weights int8"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *words.split(), "--no-compilation-cache"])
    benchmark.main()
    told = capsys.readouterr().out
    assert "stream, tiny, scan engine, int8, tile 1" in told
    for part in ("to the first block", "(99 of 100)", "in one piece", "with refilled rows"):
        assert part in told
