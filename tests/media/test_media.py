"""Videos of all kinds, made by ffmpeg, against the convention of docs/SPEC.md (clock).

Most test videos show the number of each source frame as black and white stripes, so that a test can
compare the number in every video frame with the convention.
"""

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tests.child_processes import children, needs_proc
from tests.ffmpeg import run_ffmpeg
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.media import (
    Video,
    mux,
    probe,
    read_audio,
    read_audio_file,
    read_video_frames,
    write_audio,
    write_clip,
    write_wav,
)

CLOCK = Clock()
BITS, STRIPE_PX, HEIGHT_PX = 10, 8, 16


def with_slow(*cases: object, fast: tuple[object, ...]) -> list[object]:
    """Return parameters of which only `fast` run in the fast suite."""
    return [*fast, *(pytest.param(case, marks=pytest.mark.slow) for case in cases)]


H264 = ("-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-preset", "ultrafast")


def numbered(fps: str | Fraction, frames: int) -> tuple[str, ...]:
    """Return an ffmpeg input whose frame n shows the binary digits of n as stripes."""
    digit = f"mod(floor(N/pow(2,floor(X/{STRIPE_PX}))),2)"
    size = f"{BITS * STRIPE_PX}x{HEIGHT_PX}"
    duration_sec = float(frames / Fraction(fps))
    source = f"color=size={size}:rate={fps}:duration={duration_sec + 1}"
    graph = f"{source},trim=end_frame={frames},geq=lum='16+219*{digit}':cb=128:cr=128"
    return ("-f", "lavfi", "-i", graph)


def shown_numbers(video: Video, clock: Clock = CLOCK) -> list[int]:
    """Return the number that each video frame shows."""
    numbers = []
    for frame in read_video_frames(video, clock, HEIGHT_PX, BITS * STRIPE_PX):
        digits = frame[HEIGHT_PX // 2, STRIPE_PX // 2 :: STRIPE_PX, 0] > 127
        numbers.append(int(sum(2**bit for bit in range(BITS) if digits[bit])))
    return numbers


def expected_numbers(
    times_sec: Sequence[Fraction], numbers: Sequence[int], duration_sec: Fraction, clock: Clock
) -> list[int]:
    """Return the number that each video frame should show."""
    count = max(1, clock.video_frames(clock.samples(duration_sec)))
    expected = []
    for i in range(count):
        middle_sec = clock.video_frame_time_sec(i)
        appeared = [n for n, time in zip(numbers, times_sec, strict=True) if time <= middle_sec]
        expected.append(appeared[-1])
    return expected


def expected_at_rate(fps: Fraction, frames: int, clock: Clock = CLOCK) -> list[int]:
    times = [k / fps for k in range(frames)]
    return expected_numbers(times, range(frames), frames / fps, clock)


# Which source frame a video frame shows


@pytest.mark.parametrize(
    "rate",
    with_slow(
        "5", "25/2", "24", "25", "30", "125/4", "60", "240", fast=("125/8", "30000/1001", "120")
    ),
)
def test_video_frames_show_the_source_frame_at_their_middle(tmp_path: Path, rate: str) -> None:
    fps = Fraction(rate)
    frames = round(2 * fps) + 1
    run_ffmpeg(*numbered(rate, frames), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert video.duration_sec == frames / fps
    assert shown_numbers(video) == expected_at_rate(fps, frames)


@pytest.mark.parametrize(
    "clock", with_slow(Clock(8_000, 512), Clock(16_000, 999), fast=(Clock(22_050, 735),))
)
def test_other_clocks(tmp_path: Path, clock: Clock) -> None:
    run_ffmpeg(*numbered("30000/1001", 60), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert shown_numbers(video, clock) == expected_at_rate(Fraction(30_000, 1_001), 60, clock)


@pytest.mark.slow
def test_three_hundred_frames_of_30_fps_are_ten_seconds(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi", "a.ts"):
        run_ffmpeg(*numbered("30", 300), *H264, tmp_path / name)
        video = probe(tmp_path / name)
        assert video.duration_sec == 10, name
        assert CLOCK.samples(video.duration_sec) == 160_000
        assert shown_numbers(video)[:20] == expected_at_rate(Fraction(30), 300)[:20], name


def test_rounded_times_of_matroska_do_not_shorten_a_video(tmp_path: Path) -> None:
    for rate in ("24", "30000/1001", "60"):
        run_ffmpeg(*numbered(rate, 49), *H264, tmp_path / "a.mkv")
        assert probe(tmp_path / "a.mkv").duration_sec == 49 / Fraction(rate)


def test_variable_frame_rate_and_long_gap(tmp_path: Path) -> None:
    fps = Fraction(60)
    selected = [n for n in range(180) if n < 30 or (n % 7 == 0 and not 60 < n < 150)]
    expression = "lt(n,30)+not(mod(n,7))*not(between(n,61,149))"
    run_ffmpeg(
        *numbered("60", 180),
        *("-vf", f"select='{expression}'", "-fps_mode", "vfr", "-enc_time_base", "1/60"),
        *(*H264, "-bf", "2", tmp_path / "a.mp4"),
    )
    video = probe(tmp_path / "a.mp4")
    # ffmpeg gives the last frame the duration of the one before it.
    last_sec = (selected[-1] - selected[-2]) / fps
    duration_sec = selected[-1] / fps + last_sec
    assert video.duration_sec in (duration_sec, (selected[-1] + 1) / fps)
    expected = expected_numbers([n / fps for n in selected], selected, video.duration_sec, CLOCK)
    assert shown_numbers(video) == expected
    assert len(set(expected)) > 10


@pytest.mark.parametrize("suffix", with_slow(".mp4", ".mkv", fast=(".ts",)))
def test_nonzero_first_timestamp(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    run_ffmpeg(*numbered("25", 50), *H264, "-output_ts_offset", "1.237", path)
    video = probe(path)
    assert video.first_frame_sec > 1
    assert video.duration_sec == 2
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_video_that_starts_after_the_audio(tmp_path: Path) -> None:
    run_ffmpeg(
        *("-itsoffset", "0.4", *numbered("25", 50)),
        *("-f", "lavfi", "-i", "sine=duration=3", *H264, "-c:a", "aac", tmp_path / "a.mp4"),
    )
    video = probe(tmp_path / "a.mp4")
    assert video.first_frame_sec == Fraction("0.4")
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_edit_list_with_b_frames(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 100), *H264, "-bf", "3", "-g", "40", tmp_path / "whole.mp4")
    run_ffmpeg(
        "-ss", "1.2", "-i", tmp_path / "whole.mp4", "-t", "2", "-c", "copy", tmp_path / "cut.mp4"
    )
    video = probe(tmp_path / "cut.mp4")
    assert 2 <= video.duration_sec <= Fraction("2.2")
    # Cut in decoding order, the end lacks some B-frames; up to 2 s all frames are there.
    shown = shown_numbers(video)[:30]
    assert shown == [30 + n for n in expected_at_rate(Fraction(25), 50)[:30]]


def test_raw_stream_without_times(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *H264, "-bf", "2", tmp_path / "a.h264")
    video = probe(tmp_path / "a.h264")
    assert video.duration_sec == 2
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_size_that_changes_within_the_stream(tmp_path: Path) -> None:
    halves = []
    for start, scale in ((0, 1), (25, 2)):
        halves.append(tmp_path / f"{start}.ts")
        size = f"{BITS * STRIPE_PX * scale}:{HEIGHT_PX * scale}:flags=neighbor"
        cut = f"trim=start_frame={start}:end_frame={start + 25},scale={size}"
        run_ffmpeg(*numbered("25", 50), "-vf", cut, *H264, "-bf", "0", halves[-1])
    (tmp_path / "a.ts").write_bytes(b"".join(half.read_bytes() for half in halves))
    video = probe(tmp_path / "a.ts")
    assert (video.width, video.height) == (BITS * STRIPE_PX, HEIGHT_PX)
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


CODECS = {
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M", "-auto-alt-ref", "1"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-b:v", "1M"),
    "h265.mov": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"),
    "ten_bit.mkv": ("-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p10le"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "2"),
    "b_frames.avi": ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"),
    "mjpeg.mov": ("-c:v", "mjpeg", "-q:v", "2"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "9"),
    "animated.gif": (),
}


@pytest.mark.parametrize("name", CODECS)
def test_containers_and_codecs(tmp_path: Path, name: str) -> None:
    run_ffmpeg(*numbered("25", 50), *CODECS[name], tmp_path / name)
    video = probe(tmp_path / name)
    assert video.duration_sec == 2
    assert not video.has_audio
    assert video.warnings == ()
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_video_of_one_frame(tmp_path: Path) -> None:
    for name, expected_sec in (("a.mp4", Fraction(1, 5)), ("a.png", Fraction(1, 25))):
        run_ffmpeg(*numbered("5", 1), tmp_path / name)
        video = probe(tmp_path / name)
        assert video.duration_sec == expected_sec  # ffmpeg reads a still image as 25 fps
        assert "has one frame only" in video.warnings[0]
        assert name in video.warnings[0]
        assert set(shown_numbers(video)) == {0}


# Pixels


def test_rotation_is_applied(tmp_path: Path) -> None:
    # Left half white, 64 x 32; turned by 90 degrees it is 32 x 64 with one white end.
    graph = "color=black:size=64x32:rate=25:duration=0.4,drawbox=w=32:h=32:color=white:t=fill"
    run_ffmpeg("-f", "lavfi", "-i", graph, *H264, tmp_path / "flat.mp4")
    for degrees, white_end in ((90, "bottom"), (-90, "top")):
        path = tmp_path / f"turned{degrees}.mp4"
        run_ffmpeg("-display_rotation", degrees, "-i", tmp_path / "flat.mp4", "-c", "copy", path)
        video = probe(path)
        assert (video.width, video.height) == (32, 64)
        frame = next(read_video_frames(video, CLOCK, 64, 32))
        top, bottom = frame[:24].mean(), frame[-24:].mean()
        assert (top > 200, bottom > 200) == (white_end == "top", white_end == "bottom")
        assert min(top, bottom) < 50


def test_whole_frame_is_resized_also_from_odd_sizes(tmp_path: Path) -> None:
    graph = "color=black:size=99x51:rate=25:duration=0.2,drawbox=w=33:color=white:t=fill"
    run_ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "ffv1", "-pix_fmt", "gbrp", tmp_path / "a.mkv")
    video = probe(tmp_path / "a.mkv")
    assert (video.width, video.height) == (99, 51)
    frame = next(read_video_frames(video, CLOCK, 20, 30))
    assert frame.shape == (20, 30, 3)
    assert frame[:, :8].min() > 250
    assert frame[:, 12:].max() < 5


def test_non_square_pixels_count_in_the_width(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 5), "-vf", "setsar=2/1", *H264, tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").width == 2 * BITS * STRIPE_PX


# Audio


def click(at_sec: float, duration_sec: float = 2.0, rate_hz: int = 48_000) -> tuple[str, ...]:
    """Return an ffmpeg input with a click of 2 ms, otherwise silent."""
    graph = f"aevalsrc='0.8*lt(abs(t-{at_sec}),0.001)':s={rate_hz}:d={duration_sec}"
    return ("-f", "lavfi", "-i", graph)


def click_position(waveform: np.ndarray) -> float:
    """Return the centre of the click, in samples."""
    energy = waveform.astype(np.float64) ** 2
    return float((energy * np.arange(len(energy))).sum() / energy.sum())


@pytest.mark.parametrize(
    "codec", with_slow("pcm_s16le", "aac", "libmp3lame", fast=("flac", "libopus"))
)
def test_audio_is_at_its_time(tmp_path: Path, codec: str) -> None:
    run_ffmpeg(*numbered("25", 50), *click(1.0), *H264, "-c:a", codec, tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    assert waveform.shape == (32_000,)
    # Matroska rounds times to 1/2 ms (8 samples), and lacks AAC's delay of 1024 at 48 kHz.
    tolerance = {"pcm_s16le": 1.5, "flac": 1.5, "aac": 344.0}.get(codec, 9.0)
    assert click_position(waveform) == pytest.approx(16_000, abs=tolerance)


def test_aac_in_mp4_is_at_its_time(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *click(1.0), *H264, "-c:a", "aac", tmp_path / "a.mp4")
    waveform = read_audio(probe(tmp_path / "a.mp4"), CLOCK)
    assert click_position(waveform) == pytest.approx(16_000, abs=1.5)


@pytest.mark.parametrize("suffix", with_slow(".mkv", ".mov", fast=(".ts",)))
@pytest.mark.parametrize(("video_sec", "audio_sec"), [(0.32, 0.0), (0.0, 0.5), (1.24, 1.0)])
def test_audio_that_starts_before_or_after_the_video(
    tmp_path: Path, suffix: str, video_sec: float, audio_sec: float
) -> None:
    path = tmp_path / f"a{suffix}"
    codec = "mp2" if suffix == ".ts" else "pcm_s16le"
    run_ffmpeg(
        *("-itsoffset", video_sec, *numbered("25", 50), "-itsoffset", audio_sec, *click(0.7)),
        *(*H264, "-c:a", codec, path),
    )
    waveform = read_audio(probe(path), CLOCK)
    expected = (audio_sec + 0.7 - video_sec) * CLOCK.sample_rate_hz
    assert len(waveform) == 32_000
    tolerance = {".mkv": 9, ".mov": 1.5, ".ts": 9}[suffix]  # Matroska rounds times to 1/2 ms
    assert click_position(waveform) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_mono_keeps_frequency_and_loudness(tmp_path: Path, layout: str, channels: int) -> None:
    channel_graphs = "|".join(["0.8*sin(2*PI*440*t)"] * channels)
    graph = f"aevalsrc='{channel_graphs}':channel_layout={layout}:s=44100:d=2"
    audio = ("-f", "lavfi", "-i", graph, "-c:a", "flac")
    run_ffmpeg(*numbered("25", 50), *audio, *H264, tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert np.argmax(spectrum) * 16_000 / len(waveform) == pytest.approx(440, abs=0.5)
    assert np.abs(waveform[800:-800]).max() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("audio_sec", [0.5, 5.0])
def test_audio_is_cut_or_padded_to_the_video(tmp_path: Path, audio_sec: float) -> None:
    audio = ("-f", "lavfi", "-i", f"sine=frequency=300:duration={audio_sec}")
    run_ffmpeg(*numbered("25", 50), *audio, *H264, "-c:a", "flac", tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    samples = min(32_000, round(audio_sec * 16_000))
    assert len(waveform) == 32_000
    assert np.abs(waveform[samples - 800 : samples - 100]).max() > 0.05
    assert np.abs(waveform[samples + 100 :]).max(initial=0) == 0


def test_gap_in_the_audio_is_silent(tmp_path: Path) -> None:
    run_ffmpeg(
        *(*numbered("25", 75), *click(2.5, 3.0), "-af", "aselect='not(between(t,0.5,1.5))'"),
        *(*H264, "-c:a", "pcm_s16le", tmp_path / "a.mkv"),
    )
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    assert click_position(waveform) == pytest.approx(40_000, abs=20)


def test_missing_audio_is_an_input_error(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 5), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert not video.has_audio
    with pytest.raises(InputError, match=r"a\.mp4: has no audio: "):
        read_audio(video, CLOCK)


# Writing


def noise_frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    coarse = np.random.default_rng(0).integers(0, 256, (count, height // 8, width // 8, 3))
    return list(coarse.astype(np.uint8).repeat(8, 1).repeat(8, 2))


def test_written_clip_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    waveform = np.random.default_rng(1).uniform(-1, 1, 31_999).astype(np.float32)
    frames = noise_frames(25)
    write_clip(path, iter(frames), Fraction(25, 2), waveform, 16_000)
    video = probe(path)
    assert video.duration_sec == 2
    assert (video.width, video.height, video.codec) == (64, 48, "h264")
    expected = np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.int16)
    read = np.rint(read_audio(video, CLOCK) * 32_768).astype(np.int16)
    np.testing.assert_array_equal(read, np.append(expected, np.int16(0)))
    first = next(read_video_frames(video, CLOCK, 48, 64))
    middles = np.s_[4::8, 4::8]  # between them, 4:2:0 blurs colors
    difference = np.abs(first[middles].astype(int) - frames[0][middles].astype(int))
    assert difference.mean() < 4


def test_write_clip_is_reproducible(tmp_path: Path) -> None:
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        audio = np.zeros(16_000, np.float32)
        write_clip(tmp_path / name, noise_frames(15), Fraction(15), audio, 16_000)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_compressed_audio_is_aligned(tmp_path: Path) -> None:
    """FLAC is bit-exact; AAC is aligned to the sample, whatever the delay of its encoder."""
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, 8_000, np.int64)
    noise = (levels / 2**15).astype(np.float32) * (np.arange(8_000) >= 3_000)
    write_audio(tmp_path / "flac", noise, 16_000)
    np.testing.assert_array_equal(read_audio_file(tmp_path / "flac", 16_000), noise)
    write_audio(tmp_path / "aac", noise, 16_000, bits_per_sec=64_000)
    lossy = read_audio_file(tmp_path / "aac", 16_000)[: len(noise)]
    shifts = range(-40, 41)
    correlation = [float(np.dot(np.roll(lossy, -shift), noise)) for shift in shifts]
    assert shifts[int(np.argmax(correlation))] == 0
    with pytest.raises(InputError, match="NaN or infinity"):
        write_audio(tmp_path / "bad", noise + np.float32("nan"), 16_000)
    assert {path.name for path in tmp_path.iterdir()} == {"flac", "aac"}
    wavfile.write(tmp_path / "nan.wav", 16_000, np.full(8_000, np.nan, np.float32))
    with pytest.raises(InputError, match=r"nan\.wav: its audio contains NaN or infinity"):
        read_audio_file(tmp_path / "nan.wav", 16_000)


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        ([], "no frame"),
        ([np.zeros((5, 6, 3), np.uint8)], "even"),
        ([np.zeros((4, 6, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)], "one size"),
    ],
)
def test_write_clip_rejects(tmp_path: Path, frames: list[np.ndarray], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        write_clip(tmp_path / "a.mp4", iter(frames), Fraction(25), np.zeros(9, np.float32), 16_000)
    assert list(tmp_path.iterdir()) == []


def test_write_wav_rejects_nan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN"):
        write_wav(tmp_path / "a.wav", np.array([0, np.nan], np.float32), 16_000)
    assert list(tmp_path.iterdir()) == []


def write_click(tmp_path: Path, samples: int) -> Path:
    waveform = np.zeros(samples, np.float32)
    waveform[samples // 2 - 8 : samples // 2 + 9] = 0.8
    write_wav(tmp_path / "click.wav", waveform, 16_000)
    return tmp_path / "click.wav"


def video_md5(path: Path) -> bytes:
    return run_ffmpeg("-i", path, "-map", "0:v:0", "-c", "copy", "-copyinkf", "-f", "md5", "-")


FAST_MUXED = ("a.mp4", "vp8.webm", "a.gif")
MUXED = {
    "a.mp4": ".mp4",
    "a.mkv": ".mp4",
    "a.mov": ".mp4",
    "vp9.webm": ".mp4",
    "vp8.webm": ".mkv",
    "a.gif": ".mkv",
    "mpeg4.avi": ".mp4",
    "prores.mov": ".mkv",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST_MUXED else pytest.mark.slow) for name in MUXED],
)
def test_mux_copies_video_and_aligns_audio(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    codec = {
        "vp8": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M"),
        "vp9": CODECS["vp9.webm"],
        "mpeg4": ("-c:v", "mpeg4"),
        "prores": ("-c:v", "prores_ks"),
    }.get(source.stem, () if source.suffix == ".gif" else H264)
    original = () if source.suffix == ".gif" else ("-f", "lavfi", "-i", "sine=duration=3")
    run_ffmpeg(*numbered("25", 50), *original, *codec, source)
    video = probe(source)
    samples = CLOCK.samples(video.duration_sec)
    out = mux(video, write_click(tmp_path, samples), tmp_path / "result.v1").path
    assert out.name == "result.v1" + MUXED[name]
    assert video_md5(out) == video_md5(source)
    muxed = probe(out)
    # In Matroska, the last frame of a GIF loses its own duration.
    lost_sec = Fraction(1, 25) if source.suffix == ".gif" else 0
    assert video.duration_sec - lost_sec <= muxed.duration_sec <= video.duration_sec
    shown = shown_numbers(muxed)
    assert shown == shown_numbers(video)[: len(shown)]
    pcm = run_ffmpeg("-i", out, "-map", "0:a", "-f", "s16le", "-")
    assert samples <= len(pcm) // 2 <= samples + 1_024
    assert click_position(read_audio(muxed, CLOCK)) == pytest.approx(samples // 2, abs=9)


def test_mux_starts_audio_with_a_late_video(tmp_path: Path) -> None:
    source = tmp_path / "late.mp4"
    late = ("-itsoffset", "0.75", *numbered("25", 50))
    run_ffmpeg(*late, "-f", "lavfi", "-i", "sine=duration=3", *H264, "-bf", "2", source)
    video = probe(source)
    out = mux(video, write_click(tmp_path, 32_000), tmp_path / "out").path
    muxed = probe(out)
    assert muxed.duration_sec == video.duration_sec == 2
    assert video_md5(out) == video_md5(source)
    assert click_position(read_audio(muxed, CLOCK)) == pytest.approx(16_000, abs=2)


def test_mux_keeps_rotation(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 10), *H264, tmp_path / "flat.mp4")
    turned = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", "90", "-i", tmp_path / "flat.mp4", "-c", "copy", turned)
    out = mux(probe(turned), write_click(tmp_path, 6_400), tmp_path / "out").path
    muxed = probe(out)
    assert (muxed.width, muxed.height) == (HEIGHT_PX, BITS * STRIPE_PX)


def test_mux_does_not_replace_its_source(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    run_ffmpeg(*numbered("25", 10), *H264, source)
    before = source.read_bytes()
    with pytest.raises(InputError, match="another name"):
        mux(probe(source), write_click(tmp_path, 6_400), tmp_path / "a")
    assert source.read_bytes() == before


def test_unwritable_folder(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 10), *H264, tmp_path / "a.mp4")
    blocked = tmp_path / "click.wav" / "out"  # a file is not a folder
    wav = write_click(tmp_path, 6_400)
    with pytest.raises(InputError, match="choose another folder"):
        mux(probe(tmp_path / "a.mp4"), wav, blocked)
    with pytest.raises(InputError, match="choose another folder"):
        write_clip(blocked, noise_frames(1), Fraction(25), np.zeros(9, np.float32), 16_000)


# Invalid and unusual files


def check_rejected(path: Path, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_files_that_are_not_videos(tmp_path: Path) -> None:
    check_rejected(tmp_path / "missing.mp4", "no such file")
    check_rejected(tmp_path, "is a folder")
    (tmp_path / "empty.mp4").touch()
    check_rejected(tmp_path / "empty.mp4", "is empty")
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    check_rejected(tmp_path / "text.mp4", "is not a video")
    (tmp_path / "notes.txt").write_text("\x1b[31m lines of text \x1b[0m\n" * 100)
    check_rejected(tmp_path / "notes.txt", "is text|is not a video")
    run_ffmpeg(*numbered("25", 1), tmp_path / "still.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "still.png").read_bytes()[:60])
    check_rejected(tmp_path / "cut.png", "can be decoded|is not a video")


def test_audio_and_cover_art_are_not_videos(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "a.m4a")
    check_rejected(tmp_path / "a.m4a", "no video stream")
    run_ffmpeg(*numbered("25", 1), tmp_path / "cover.png")
    for name in ("cover.mp3", "cover.m4a"):
        run_ffmpeg(
            *("-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "cover.png"),
            *("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic"),
            tmp_path / name,
        )
        check_rejected(tmp_path / name, "no video stream")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.gif"])
def test_truncated_video_is_read_up_to_the_cut(tmp_path: Path, name: str) -> None:
    intact = tmp_path / f"intact{name}"
    codec = () if name == "a.gif" else (*H264, "-bf", "0", "-movflags", "+faststart")
    run_ffmpeg(*numbered("25", 100), *codec, intact)
    data = intact.read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) * 6 // 10])
    video = probe(path)
    assert Fraction(1, 2) < video.duration_sec < 3
    assert any(name in line and "cut off" in line for line in video.warnings), video.warnings
    shown = shown_numbers(video)
    assert shown[:8] == expected_at_rate(Fraction(25), 100)[:8]


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", 'it\'s "quoted".mp4', "-dash.mp4", "100%d.mp4", "a:b.mp4", "ü雪.mp4"],
)
def test_file_names_are_literal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    audio = np.zeros(3_200, np.float32)
    audio[1_600] = 0.5
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    write_clip(path, noise_frames(5), Fraction(25), audio, 16_000)
    video = probe(path)
    assert len(list(read_video_frames(video, CLOCK, 8, 8))) == 4
    assert read_audio(video, CLOCK)[1_600] == 0.5
    write_wav(Path(f"{name}.wav"), audio, 16_000)
    out = mux(video, Path(f"{name}.wav"), Path(f"{path.stem}-joined")).path
    assert probe(out).duration_sec == video.duration_sec
    assert out.name == f"{path.stem}-joined.mp4"


@needs_proc
def test_closing_the_frame_iterator_ends_ffmpeg(tmp_path: Path) -> None:
    graph = "testsrc2=size=640x480:rate=60:duration=4"
    run_ffmpeg("-f", "lavfi", "-i", graph, *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    before = set(children())
    frames = read_video_frames(video, CLOCK, 480, 640)
    assert isinstance(frames, Iterator)
    next(frames)
    assert len(set(children()) - before) == 1  # more frames are pending than a pipe can hold
    frames.close()  # type: ignore[attr-defined]
    assert set(children()) == before


@needs_proc
def test_error_in_the_frame_source_ends_ffmpeg(tmp_path: Path) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from noise_frames(3)
        raise KeyError("error of the source")

    before = set(children())
    with pytest.raises(KeyError):
        write_clip(tmp_path / "a.mp4", frames(), Fraction(25), np.zeros(9, np.float32), 16_000)
    assert set(children()) == before
    assert list(tmp_path.iterdir()) == []
