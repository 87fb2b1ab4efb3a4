"""Streaming: blocks with a carry in and out, pipes, growing wavs, exact lengths."""

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.conftest import random_params, with_model
from tests.ffmpeg import run_ffmpeg
from v2s_jax.checkpoints import save_params
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.media import StreamingWav, probe, write_clip
from v2s_jax.sampling import Request, Sampler, clip_key, generate
from v2s_jax.sampling.streaming import first_carry, stream
from v2s_jax.sonification import SampleOptions, sonify, stream_video, streaming

pytestmark = pytest.mark.usefixtures("compilation_cache", "engine_of_auto")

KEY = clip_key(3, b"a stream")
SAMPLE = [sys.executable, "-m", "v2s_jax", "sample"]


@pytest.fixture(scope="module")
def samplers():
    """Samplers by variant, made when a test asks for one."""
    made = {}

    def sampler_of(variant: str) -> Sampler:
        if variant not in made:
            config = with_model(TINY, variant=variant)
            made[variant] = Sampler(config, random_params(config), batch_size=2)
        return made[variant]

    return sampler_of


def random_features(sampler: Sampler, video_frames: int) -> np.ndarray:
    shape = (video_frames, sampler.config.model.feature_dim)
    return np.random.default_rng(0).random(shape).astype(np.float16)


def levels_of(blocks) -> np.ndarray:
    return np.concatenate([block.levels for block in blocks])


@pytest.mark.parametrize(
    "variant",
    ["frame", "aligned", *(pytest.param(v, marks=pytest.mark.slow) for v in ("seq", "flow"))],
)
def test_a_stream_equals_the_whole_clip_and_continues_from_any_carry(samplers, variant):
    sampler = samplers(variant)
    features = random_features(sampler, 11)
    expected = generate(sampler, [Request(KEY, 11 * 1024, features)])[0]
    blocks = list(stream(sampler, iter(features), first_carry(sampler, KEY)))
    np.testing.assert_array_equal(levels_of(blocks), expected)
    assert {len(block.levels) for block in blocks} == {1024}
    for paused in (1, 4, 10):
        rest = stream(sampler, features[paused:], blocks[paused - 1].carry)
        np.testing.assert_array_equal(levels_of(rest), expected[paused * 1024 :])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["seq", pytest.param("flow", marks=pytest.mark.slow)])
def test_pausing_inside_and_between_windows_changes_nothing(samplers, variant):
    sampler = samplers(variant)
    features = random_features(sampler, 11)
    blocks = list(stream(sampler, features, first_carry(sampler, KEY), window=4))
    expected = levels_of(blocks)
    assert [b.carry.frames_ahead for b in blocks] == [3, 2, 1, 0, 3, 2, 1, 0, 2, 1, 0]
    for paused in (3, 4, 6, 9):
        carry = jax.tree.map(np.asarray, blocks[paused - 1].carry)  # as if read from a file
        rest = stream(sampler, features[paused:], carry, window=4)
        np.testing.assert_array_equal(levels_of(rest), expected[paused * 1024 :])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["flow", "aligned"])
def test_a_stream_of_frames_continues_from_any_carry(tmp_path, variant):
    """Flow and Aligned too: they have seen the motion of the first frame before the pause."""
    config = with_model(TINY, variant=variant)
    file = tmp_path / "model.safetensors"
    save_params(file, config, random_params(config))
    frames = list(np.random.default_rng(4).integers(0, 256, (6, 128, 128, 3), np.uint8))
    options = SampleOptions(checkpoint=file)
    blocks = list(streaming.stream(frames, options))
    rest = streaming.stream(frames[2:], options, carry=blocks[1].carry)
    for block, expected in zip(rest, blocks[2:], strict=True):
        assert block.settings == expected.settings
        np.testing.assert_array_equal(block.waveform, expected.waveform)


def test_frame_generates_each_video_frame_as_it_comes(samplers):
    sampler = samplers("frame")
    read = []
    vectors = (read.append(i) or vector for i, vector in enumerate(random_features(sampler, 3)))
    read_at_block = [len(read) for _ in stream(sampler, vectors, first_carry(sampler, KEY))]
    assert read_at_block == [1, 2, 3]


def test_aligned_waits_for_its_lookahead_and_no_longer(samplers):
    sampler = samplers("aligned")
    read = []
    vectors = (read.append(i) or vector for i, vector in enumerate(random_features(sampler, 6)))
    read_at_block = [len(read) for _ in stream(sampler, vectors, first_carry(sampler, KEY))]
    assert sampler.config.model.lookahead == 2
    assert read_at_block == [3, 4, 5, 6, 6, 6]


@pytest.mark.parametrize("video_frames", [0, 1, 2])
def test_streams_shorter_than_the_lookahead(samplers, video_frames):
    sampler = samplers("aligned")
    features = random_features(sampler, video_frames)
    blocks = list(stream(sampler, features, first_carry(sampler, KEY)))
    assert len(blocks) == video_frames
    if blocks:
        expected = generate(sampler, [Request(KEY, video_frames * 1024, features)])[0]
        np.testing.assert_array_equal(levels_of(blocks), expected)


@pytest.mark.slow
def test_what_a_window_depends_on(samplers):
    """A window of Seq sees no other window, but continues the samples of the one before."""
    sampler = samplers("seq")
    features = random_features(sampler, 8)
    start = first_carry(sampler, KEY)

    def levels(vectors, window=4):
        return levels_of(stream(sampler, vectors, start, window=window))

    whole, windows = levels(features, 8), levels(features)
    later, earlier = features.copy(), features.copy()
    later[4:] = later[4:][::-1]
    earlier[:4] = earlier[:4][::-1]
    first = slice(0, 4 * 1024)
    np.testing.assert_array_equal(levels(later)[first], windows[first])
    assert (whole[first] != windows[first]).mean() > 0.01
    carried = list(stream(sampler, features[:4], start, window=4))[-1].carry
    cold = start._replace(video_frame=4)
    warm_again, cold_again = (
        levels_of(stream(sampler, features[4:], c, window=4)) for c in (carried, cold)
    )
    np.testing.assert_array_equal(warm_again, windows[4 * 1024 :])
    assert (cold_again != warm_again).any()  # the middle tier and the last samples carry over


def make_video(path: Path, frame_count: int, fps: int = 25) -> Path:
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, (frame_count, 48, 64, 3), np.uint8)
    silence = np.zeros(round(frame_count / fps * 16_000), np.float32)
    write_clip(path, frames, Fraction(fps), silence, 16_000)
    return path


def samples_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_a_stream_warns_of_other_video_streams(tmp_path, checkpoint):
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.2"),
        *("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=25:duration=0.2"),
        *("-map", "0:v", "-map", "1:v", tmp_path / "two.mkv"),
    )
    options = SampleOptions(checkpoint=checkpoint)
    report = stream_video(tmp_path / "two.mkv", tmp_path / "two.wav", options)
    assert report.samples == 3_200
    assert report.warnings == probe(tmp_path / "two.mkv").warnings != ()


@pytest.mark.slow
def test_a_streamed_file_equals_the_sonified_one(tmp_path, checkpoint):
    video = make_video(tmp_path / "v.mp4", 33)
    options = SampleOptions(checkpoint=checkpoint)
    report = sonify(video, tmp_path / "out", options)
    streamed = stream_video(video, tmp_path / "v.wav", options)
    assert streamed[:3] == (round(33 / 25 * 16_000), (), None)
    assert streamed.settings == report.settings
    assert samples_of(tmp_path / "v.wav") == samples_of(report.generated[0].wav)
    with pytest.raises(InputError, match="already exists"):
        stream_video(video, tmp_path / "v.wav", options)


@pytest.mark.slow
@pytest.mark.parametrize("frame_count", [33, 40, 41])
def test_a_pipe_has_audio_of_exactly_its_length(tmp_path, checkpoint, frame_count):
    """The program: Matroska on stdin, raw PCM on stdout, messages on stderr."""
    video = make_video(tmp_path / "v.mp4", frame_count)
    data = run_ffmpeg("-i", video, "-c", "copy", "-f", "matroska", "pipe:1")
    args = ["--stream", "--video", "-", "--out", "-", "--checkpoint", str(checkpoint)]
    process = subprocess.run([*SAMPLE, *args], input=data, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert len(process.stdout) == 2 * round(frame_count / 25 * 16_000)
    assert len(set(process.stdout)) > 50


@pytest.mark.slow
def test_a_pipe_without_video(tmp_path, checkpoint):
    old = tmp_path / "o.wav"
    old.write_bytes(b"old")
    args = ["--stream", "--video", "-", "--out", str(old), "--overwrite"]
    process = subprocess.run(
        [*SAMPLE, *args, "--checkpoint", str(checkpoint)],
        input=b"this is no video",
        capture_output=True,
    )
    assert process.returncode == 2
    assert b"error: standard input: no video" in process.stderr
    assert b"Traceback" not in process.stderr
    assert old.read_bytes() == b"old"


def test_standard_output_on_a_full_disk(monkeypatch):
    """/dev/full answers every write like a full disk."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with (
            pytest.raises(InputError, match=r"standard output: cannot be written \(No space left"),
            streaming._open_sink(streaming.PIPE, 16_000, overwrite=False) as write,
        ):
            write(np.zeros(1024, np.float32))


def test_a_growing_wav_is_valid_after_every_write(tmp_path):
    path = tmp_path / "growing.wav"
    with StreamingWav(path, 16_000, overwrite=False) as wav:
        assert not path.exists()
        for blocks in range(1, 4):
            wav.write(np.full(1024, 0.5, np.float32))
            assert len(samples_of(path)) == 2 * 1024 * blocks
    assert [file.name for file in tmp_path.iterdir()] == ["growing.wav"]


def test_an_old_wav_stays_until_the_first_write(tmp_path):
    path = tmp_path / "old.wav"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="bad"), StreamingWav(path, 16_000, overwrite=True):
        raise InputError("the input is bad")
    assert path.read_bytes() == b"old"
    with pytest.raises(InputError, match="already exists"):
        StreamingWav(path, 16_000, overwrite=False)
    with StreamingWav(path, 16_000, overwrite=True) as wav:
        assert path.read_bytes() == b"old"
        wav.write(np.zeros(1024, np.float32))
        assert len(samples_of(path)) == 2 * 1024
    mine = tmp_path / "mine.wav"
    with (
        pytest.raises(InputError, match="already exists"),
        StreamingWav(mine, 16_000, overwrite=False) as wav,
    ):
        mine.write_bytes(b"written meanwhile")
        wav.write(np.zeros(1024, np.float32))
    assert mine.read_bytes() == b"written meanwhile"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.wav", "old.wav"]


@pytest.mark.parametrize("options", [{"takes": 2}, {"prefix": Path("p.wav")}, {"original": "keep"}])
def test_options_that_a_stream_does_not_have(tmp_path, checkpoint, options):
    options = SampleOptions(checkpoint=checkpoint, **options)
    with pytest.raises(InputError, match="a stream has no --takes, --prefix, "):
        stream_video(tmp_path / "v.mp4", tmp_path / "o.wav", options)
    with pytest.raises(InputError, match="a stream has no --takes"):
        next(streaming.stream([], options))


def test_bad_input(tmp_path, checkpoint, samplers):
    with pytest.raises(InputError, match=r"ends in \.wav, or -"):
        stream_video(tmp_path / "v.mp4", tmp_path / "v.mp3", SampleOptions(checkpoint=checkpoint))
    sampler = samplers("frame")
    features = random_features(sampler, 2)
    with pytest.raises(InputError, match="window of 0"):
        list(stream(sampler, features, first_carry(sampler, KEY), window=0))
    features[1] = np.nan
    with pytest.raises(InputError, match=r"NaN .* first in number 1"):
        list(stream(sampler, features, first_carry(sampler, KEY)))
