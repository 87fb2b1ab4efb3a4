"""Videos of every kind, made by ffmpeg, against the convention of docs/SPEC.md (clock).

The pictures of most test videos carry their own number in black and white stripes, so that a test
can compare what every video frame shows with what the convention says it shows.
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
    write_clip,
    write_sound,
    write_wav,
)

pytestmark = pytest.mark.filterwarnings("error")

CLOCK = Clock()
BITS, STRIPE_PX, HEIGHT_PX = 10, 8, 16
H264 = ("-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-preset", "ultrafast")


def numbered(fps: str | Fraction, pictures: int) -> tuple[str, ...]:
    """Return the ffmpeg input whose picture n shows the binary digits of n as stripes."""
    digit = f"mod(floor(N/pow(2,floor(X/{STRIPE_PX}))),2)"
    size = f"{BITS * STRIPE_PX}x{HEIGHT_PX}"
    duration_sec = float(pictures / Fraction(fps))
    source = f"color=size={size}:rate={fps}:duration={duration_sec + 1}"
    graph = f"{source},trim=end_frame={pictures},geq=lum='16+219*{digit}':cb=128:cr=128"
    return ("-f", "lavfi", "-i", graph)


def shown_numbers(video: Video, clock: Clock = CLOCK) -> list[int]:
    """Return the number that each video frame shows."""
    numbers = []
    for picture in read_video_frames(video, clock, HEIGHT_PX, BITS * STRIPE_PX):
        digits = picture[HEIGHT_PX // 2, STRIPE_PX // 2 :: STRIPE_PX, 0] > 127
        numbers.append(int(sum(2**bit for bit in range(BITS) if digits[bit])))
    return numbers


def expected_numbers(
    times_sec: Sequence[Fraction], numbers: Sequence[int], duration_sec: Fraction, clock: Clock
) -> list[int]:
    """Say what each video frame shows, straight from the convention."""
    count = max(1, clock.video_frames(clock.samples(duration_sec)))
    expected = []
    for i in range(count):
        instant = clock.picture_time_sec(i)
        on_display = [n for n, time in zip(numbers, times_sec, strict=True) if time <= instant]
        expected.append(on_display[-1])
    return expected


def expected_at_rate(fps: Fraction, pictures: int, clock: Clock = CLOCK) -> list[int]:
    times = [k / fps for k in range(pictures)]
    return expected_numbers(times, range(pictures), pictures / fps, clock)


# Which picture a video frame shows


@pytest.mark.parametrize(
    "rate", ["5", "25/2", "125/8", "24", "25", "30000/1001", "30", "125/4", "60", "120", "240"]
)
def test_video_frames_show_the_picture_at_their_middle(tmp_path: Path, rate: str) -> None:
    fps = Fraction(rate)
    pictures = round(2 * fps) + 1
    run_ffmpeg(*numbered(rate, pictures), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert video.duration_sec == pictures / fps
    assert shown_numbers(video) == expected_at_rate(fps, pictures)


@pytest.mark.parametrize("clock", [Clock(8_000, 512), Clock(22_050, 735), Clock(16_000, 999)])
def test_other_clocks(tmp_path: Path, clock: Clock) -> None:
    run_ffmpeg(*numbered("30000/1001", 60), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert shown_numbers(video, clock) == expected_at_rate(Fraction(30_000, 1_001), 60, clock)


def test_thirty_fps_three_hundred_pictures_are_ten_seconds(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi", "a.ts"):
        run_ffmpeg(*numbered("30", 300), *H264, tmp_path / name)
        video = probe(tmp_path / name)
        assert video.duration_sec == 10, name
        assert CLOCK.samples(video.duration_sec) == 160_000
        assert shown_numbers(video)[:20] == expected_at_rate(Fraction(30), 300)[:20], name


def test_milliseconds_of_matroska_do_not_shorten_a_video(tmp_path: Path) -> None:
    for rate in ("24", "30000/1001", "60"):
        run_ffmpeg(*numbered(rate, 49), *H264, tmp_path / "a.mkv")
        assert probe(tmp_path / "a.mkv").duration_sec == 49 / Fraction(rate)


def test_variable_frame_rate_and_long_gap(tmp_path: Path) -> None:
    fps = Fraction(60)
    kept = [n for n in range(180) if n < 30 or (n % 7 == 0 and not 60 < n < 150)]
    expression = "lt(n,30)+not(mod(n,7))*not(between(n,61,149))"
    run_ffmpeg(
        *numbered("60", 180),
        *("-vf", f"select='{expression}'", "-fps_mode", "vfr", "-enc_time_base", "1/60"),
        *(*H264, "-bf", "2", tmp_path / "a.mp4"),
    )
    video = probe(tmp_path / "a.mp4")
    # ffmpeg lets the last picture last as long as the one before it.
    last_sec = (kept[-1] - kept[-2]) / fps
    duration_sec = kept[-1] / fps + last_sec
    assert video.duration_sec in (duration_sec, (kept[-1] + 1) / fps)
    expected = expected_numbers([n / fps for n in kept], kept, video.duration_sec, CLOCK)
    assert shown_numbers(video) == expected
    assert len(set(expected)) > 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_first_timestamp_that_is_not_zero(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    run_ffmpeg(*numbered("25", 50), *H264, "-output_ts_offset", "1.237", path)
    video = probe(path)
    assert video.first_picture_sec > 1
    assert video.duration_sec == 2
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_picture_that_starts_after_the_sound(tmp_path: Path) -> None:
    run_ffmpeg(
        *("-itsoffset", "0.4", *numbered("25", 50)),
        *("-f", "lavfi", "-i", "sine=duration=3", *H264, "-c:a", "aac", tmp_path / "a.mp4"),
    )
    video = probe(tmp_path / "a.mp4")
    assert video.first_picture_sec == Fraction("0.4")
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_edit_list_with_b_frames(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 100), *H264, "-bf", "3", "-g", "40", tmp_path / "whole.mp4")
    run_ffmpeg(
        "-ss", "1.2", "-i", tmp_path / "whole.mp4", "-t", "2", "-c", "copy", tmp_path / "cut.mp4"
    )
    video = probe(tmp_path / "cut.mp4")
    assert 2 <= video.duration_sec <= Fraction("2.2")
    # Cut in decoding order, the end lacks some B-frames; up to 2 s all pictures are there.
    shown = shown_numbers(video)[:30]
    assert shown == [30 + n for n in expected_at_rate(Fraction(25), 50)[:30]]


def test_raw_stream_without_times(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *H264, "-bf", "2", tmp_path / "a.h264")
    video = probe(tmp_path / "a.h264")
    assert video.duration_sec == 2
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_size_that_changes_in_mid_stream(tmp_path: Path) -> None:
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
    assert not video.has_sound
    assert video.warnings == ()
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


def test_video_of_one_picture(tmp_path: Path) -> None:
    for name, expected_sec in (("a.mp4", Fraction(1, 5)), ("a.png", Fraction(1, 25))):
        run_ffmpeg(*numbered("5", 1), tmp_path / name)
        video = probe(tmp_path / name)
        assert video.duration_sec == expected_sec  # ffmpeg takes a still picture for 25 fps
        assert "one picture only" in video.warnings[0]
        assert name in video.warnings[0]
        assert set(shown_numbers(video)) == {0}


# What the pictures look like


def test_rotation_turns_the_picture(tmp_path: Path) -> None:
    # Left half white, 64 x 32; turned by 90 degrees it is 32 x 64 with one white end.
    graph = "color=black:size=64x32:rate=25:duration=0.4,drawbox=w=32:h=32:color=white:t=fill"
    run_ffmpeg("-f", "lavfi", "-i", graph, *H264, tmp_path / "flat.mp4")
    for degrees, white_end in ((90, "bottom"), (-90, "top")):
        path = tmp_path / f"turned{degrees}.mp4"
        run_ffmpeg("-display_rotation", degrees, "-i", tmp_path / "flat.mp4", "-c", "copy", path)
        video = probe(path)
        assert (video.width, video.height) == (32, 64)
        picture = next(read_video_frames(video, CLOCK, 64, 32))
        top, bottom = picture[:24].mean(), picture[-24:].mean()
        assert (top > 200, bottom > 200) == (white_end == "top", white_end == "bottom")
        assert min(top, bottom) < 50


def test_whole_picture_is_resized_and_odd_sizes_are_read(tmp_path: Path) -> None:
    graph = "color=black:size=99x51:rate=25:duration=0.2,drawbox=w=33:color=white:t=fill"
    run_ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "ffv1", "-pix_fmt", "gbrp", tmp_path / "a.mkv")
    video = probe(tmp_path / "a.mkv")
    assert (video.width, video.height) == (99, 51)
    picture = next(read_video_frames(video, CLOCK, 20, 30))
    assert picture.shape == (20, 30, 3)
    assert picture[:, :8].min() > 250
    assert picture[:, 12:].max() < 5


def test_pixels_that_are_not_square_count_in_the_width(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 5), "-vf", "setsar=2/1", *H264, tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").width == 2 * BITS * STRIPE_PX


# Sound


def click(at_sec: float, duration_sec: float = 2.0, rate_hz: int = 48_000) -> tuple[str, ...]:
    """Return the ffmpeg input that is silent but for 2 ms around one instant."""
    graph = f"aevalsrc='0.8*lt(abs(t-{at_sec}),0.001)':s={rate_hz}:d={duration_sec}"
    return ("-f", "lavfi", "-i", graph)


def click_position(waveform: np.ndarray) -> float:
    """Return the centre of the click, in samples."""
    energy = waveform.astype(np.float64) ** 2
    return float((energy * np.arange(len(energy))).sum() / energy.sum())


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "aac", "libmp3lame", "libopus"])
def test_sound_keeps_its_place(tmp_path: Path, codec: str) -> None:
    run_ffmpeg(*numbered("25", 50), *click(1.0), *H264, "-c:a", codec, tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    assert waveform.shape == (32_000,)
    # Matroska tells times to 1/2 ms (8 samples), and nothing of AAC's run-in of 1024 at 48 kHz.
    tolerance = {"pcm_s16le": 1.5, "flac": 1.5, "aac": 344.0}.get(codec, 9.0)
    assert click_position(waveform) == pytest.approx(16_000, abs=tolerance)


def test_aac_in_mp4_keeps_its_place(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *click(1.0), *H264, "-c:a", "aac", tmp_path / "a.mp4")
    waveform = read_audio(probe(tmp_path / "a.mp4"), CLOCK)
    assert click_position(waveform) == pytest.approx(16_000, abs=1.5)


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".ts"])
@pytest.mark.parametrize(("picture_sec", "sound_sec"), [(0.32, 0.0), (0.0, 0.5), (1.24, 1.0)])
def test_sound_that_starts_earlier_or_later_than_the_picture(
    tmp_path: Path, suffix: str, picture_sec: float, sound_sec: float
) -> None:
    path = tmp_path / f"a{suffix}"
    codec = "mp2" if suffix == ".ts" else "pcm_s16le"
    run_ffmpeg(
        *("-itsoffset", picture_sec, *numbered("25", 50), "-itsoffset", sound_sec, *click(0.7)),
        *(*H264, "-c:a", codec, path),
    )
    waveform = read_audio(probe(path), CLOCK)
    expected = (sound_sec + 0.7 - picture_sec) * CLOCK.sample_rate_hz
    assert len(waveform) == 32_000
    tolerance = {".mkv": 9, ".mov": 1.5, ".ts": 9}[suffix]  # Matroska: times to 1/2 ms
    assert click_position(waveform) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_mono_keeps_frequency_and_loudness(tmp_path: Path, layout: str, channels: int) -> None:
    same = "|".join(["0.8*sin(2*PI*440*t)"] * channels)
    graph = f"aevalsrc='{same}':channel_layout={layout}:s=44100:d=2"
    sound = ("-f", "lavfi", "-i", graph, "-c:a", "flac")
    run_ffmpeg(*numbered("25", 50), *sound, *H264, tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert np.argmax(spectrum) * 16_000 / len(waveform) == pytest.approx(440, abs=0.5)
    assert np.abs(waveform[800:-800]).max() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("sound_sec", [0.5, 2.0, 5.0])
def test_sound_is_cut_or_padded_to_the_picture(tmp_path: Path, sound_sec: float) -> None:
    sound = ("-f", "lavfi", "-i", f"sine=frequency=300:duration={sound_sec}")
    run_ffmpeg(*numbered("25", 50), *sound, *H264, "-c:a", "flac", tmp_path / "a.mkv")
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    heard = min(32_000, round(sound_sec * 16_000))
    assert len(waveform) == 32_000
    assert np.abs(waveform[heard - 800 : heard - 100]).max() > 0.05
    assert np.abs(waveform[heard + 100 :]).max(initial=0) == 0


def test_gap_in_the_sound_stays_silent(tmp_path: Path) -> None:
    run_ffmpeg(
        *(*numbered("25", 75), *click(2.5, 3.0), "-af", "aselect='not(between(t,0.5,1.5))'"),
        *(*H264, "-c:a", "pcm_s16le", tmp_path / "a.mkv"),
    )
    waveform = read_audio(probe(tmp_path / "a.mkv"), CLOCK)
    assert click_position(waveform) == pytest.approx(40_000, abs=20)


def test_no_sound_is_an_input_error(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 5), *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    assert not video.has_sound
    with pytest.raises(InputError, match=r"a\.mp4: holds no sound: "):
        read_audio(video, CLOCK)


# Writing


def noise_pictures(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    coarse = np.random.default_rng(0).integers(0, 256, (count, height // 8, width // 8, 3))
    return list(coarse.astype(np.uint8).repeat(8, 1).repeat(8, 2))


def test_write_clip_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    waveform = np.random.default_rng(1).uniform(-1, 1, 31_999).astype(np.float32)
    pictures = noise_pictures(25)
    write_clip(path, iter(pictures), Fraction(25, 2), waveform, 16_000)
    video = probe(path)
    assert video.duration_sec == 2
    assert (video.width, video.height, video.codec) == (64, 48, "h264")
    expected = np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.int16)
    read = np.rint(read_audio(video, CLOCK) * 32_768).astype(np.int16)
    np.testing.assert_array_equal(read, np.append(expected, np.int16(0)))
    first = next(read_video_frames(video, CLOCK, 48, 64))
    middles = np.s_[4::8, 4::8]  # between them, 4:2:0 blurs colours
    difference = np.abs(first[middles].astype(int) - pictures[0][middles].astype(int))
    assert difference.mean() < 4


def test_write_clip_repeats_its_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        sound = np.zeros(16_000, np.float32)
        write_clip(tmp_path / name, noise_pictures(15), Fraction(15), sound, 16_000)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_sounds_are_compressed_in_their_place(tmp_path: Path) -> None:
    """FLAC to the bit; AAC to the sample, whatever its encoder's delay."""
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, 8_000, np.int64)
    noise = (levels / 2**15).astype(np.float32) * (np.arange(8_000) >= 3_000)
    write_sound(tmp_path / "flac", noise, 16_000)
    np.testing.assert_array_equal(read_audio_file(tmp_path / "flac", 16_000), noise)
    write_sound(tmp_path / "aac", noise, 16_000, bits_per_sec=64_000)
    lossy = read_audio_file(tmp_path / "aac", 16_000)[: len(noise)]
    shifts = range(-40, 41)
    likeness = [float(np.dot(np.roll(lossy, -shift), noise)) for shift in shifts]
    assert shifts[int(np.argmax(likeness))] == 0
    with pytest.raises(InputError, match="NaN or infinity"):
        write_sound(tmp_path / "bad", noise + np.float32("nan"), 16_000)
    assert {path.name for path in tmp_path.iterdir()} == {"flac", "aac"}
    wavfile.write(tmp_path / "nan.wav", 16_000, np.full(8_000, np.nan, np.float32))
    with pytest.raises(InputError, match=r"nan\.wav: its sound holds NaN or infinity"):
        read_audio_file(tmp_path / "nan.wav", 16_000)


@pytest.mark.parametrize(
    ("pictures", "problem"),
    [
        ([], "no picture"),
        ([np.zeros((5, 6, 3), np.uint8)], "even"),
        ([np.zeros((4, 6, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)], "one size"),
    ],
)
def test_write_clip_refuses(tmp_path: Path, pictures: list[np.ndarray], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        write_clip(
            tmp_path / "a.mp4", iter(pictures), Fraction(25), np.zeros(9, np.float32), 16_000
        )
    assert list(tmp_path.iterdir()) == []


def test_write_clip_refuses_sound_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN"):
        write_wav(tmp_path / "a.wav", np.array([0, np.nan], np.float32), 16_000)
    assert list(tmp_path.iterdir()) == []


def made_sound(tmp_path: Path, samples: int) -> Path:
    waveform = np.zeros(samples, np.float32)
    waveform[samples // 2 - 8 : samples // 2 + 9] = 0.8
    write_wav(tmp_path / "made.wav", waveform, 16_000)
    return tmp_path / "made.wav"


def picture_md5(path: Path) -> bytes:
    return run_ffmpeg("-i", path, "-map", "0:v:0", "-c", "copy", "-copyinkf", "-f", "md5", "-")


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


@pytest.mark.parametrize("name", MUXED)
def test_mux_copies_pictures_and_aligns_sound(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    codec = {
        "vp8": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M"),
        "vp9": CODECS["vp9.webm"],
        "mpeg4": ("-c:v", "mpeg4"),
        "prores": ("-c:v", "prores_ks"),
    }.get(source.stem, () if source.suffix == ".gif" else H264)
    old_sound = () if source.suffix == ".gif" else ("-f", "lavfi", "-i", "sine=duration=3")
    run_ffmpeg(*numbered("25", 50), *old_sound, *codec, source)
    video = probe(source)
    samples = CLOCK.samples(video.duration_sec)
    out = mux(video, made_sound(tmp_path, samples), tmp_path / "result.v1")
    assert out.name == "result.v1" + MUXED[name]
    assert picture_md5(out) == picture_md5(source)
    muxed = probe(out)
    # In Matroska, the last picture of a GIF loses its own duration.
    lost_sec = Fraction(1, 25) if source.suffix == ".gif" else 0
    assert video.duration_sec - lost_sec <= muxed.duration_sec <= video.duration_sec
    shown = shown_numbers(muxed)
    assert shown == shown_numbers(video)[: len(shown)]
    heard = run_ffmpeg("-i", out, "-map", "0:a", "-f", "s16le", "-")
    assert samples <= len(heard) // 2 <= samples + 1_024
    assert click_position(read_audio(muxed, CLOCK)) == pytest.approx(samples // 2, abs=9)


def test_mux_sound_starts_with_a_late_picture(tmp_path: Path) -> None:
    source = tmp_path / "late.mp4"
    late = ("-itsoffset", "0.75", *numbered("25", 50))
    run_ffmpeg(*late, "-f", "lavfi", "-i", "sine=duration=3", *H264, "-bf", "2", source)
    video = probe(source)
    out = mux(video, made_sound(tmp_path, 32_000), tmp_path / "out")
    muxed = probe(out)
    assert muxed.duration_sec == video.duration_sec == 2
    assert picture_md5(out) == picture_md5(source)
    assert click_position(read_audio(muxed, CLOCK)) == pytest.approx(16_000, abs=2)


def test_mux_keeps_rotation(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 10), *H264, tmp_path / "flat.mp4")
    turned = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", "90", "-i", tmp_path / "flat.mp4", "-c", "copy", turned)
    out = mux(probe(turned), made_sound(tmp_path, 6_400), tmp_path / "out")
    muxed = probe(out)
    assert (muxed.width, muxed.height) == (HEIGHT_PX, BITS * STRIPE_PX)


def test_mux_does_not_replace_its_source(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    run_ffmpeg(*numbered("25", 10), *H264, source)
    before = source.read_bytes()
    with pytest.raises(InputError, match="another name"):
        mux(probe(source), made_sound(tmp_path, 6_400), tmp_path / "a")
    assert source.read_bytes() == before


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 10), *H264, tmp_path / "a.mp4")
    blocked = tmp_path / "made.wav" / "out"  # below a file there is no folder
    wav = made_sound(tmp_path, 6_400)
    with pytest.raises(InputError, match="choose another folder"):
        mux(probe(tmp_path / "a.mp4"), wav, blocked)
    with pytest.raises(InputError, match="choose another folder"):
        write_clip(blocked, noise_pictures(1), Fraction(25), np.zeros(9, np.float32), 16_000)


# Bad and odd files


def check_refused(path: Path, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_files_that_are_no_video(tmp_path: Path) -> None:
    check_refused(tmp_path / "missing.mp4", "no such file")
    check_refused(tmp_path, "is a folder")
    (tmp_path / "empty.mp4").touch()
    check_refused(tmp_path / "empty.mp4", "is empty")
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    check_refused(tmp_path / "text.mp4", "is not a video")
    (tmp_path / "notes.txt").write_text("\x1b[31m lines of text \x1b[0m\n" * 100)
    check_refused(tmp_path / "notes.txt", "is text|is not a video")
    run_ffmpeg(*numbered("25", 1), tmp_path / "still.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "still.png").read_bytes()[:60])
    check_refused(tmp_path / "cut.png", "can be decoded|is not a video")


def test_sound_alone_and_cover_art_are_no_video(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "a.m4a")
    check_refused(tmp_path / "a.m4a", "no video stream")
    run_ffmpeg(*numbered("25", 1), tmp_path / "cover.png")
    for name in ("cover.mp3", "cover.m4a"):
        run_ffmpeg(
            *("-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "cover.png"),
            *("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic"),
            tmp_path / name,
        )
        check_refused(tmp_path / name, "no video stream")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.gif"])
def test_truncated_video_counts_for_what_it_holds(tmp_path: Path, name: str) -> None:
    whole = tmp_path / f"whole{name}"
    codec = () if name == "a.gif" else (*H264, "-bf", "0", "-movflags", "+faststart")
    run_ffmpeg(*numbered("25", 100), *codec, whole)
    data = whole.read_bytes()
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
def test_names_are_taken_literally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sound = np.zeros(3_200, np.float32)
    sound[1_600] = 0.5
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    write_clip(path, noise_pictures(5), Fraction(25), sound, 16_000)
    video = probe(path)
    assert len(list(read_video_frames(video, CLOCK, 8, 8))) == 4
    assert read_audio(video, CLOCK)[1_600] == 0.5
    write_wav(Path(f"{name}.wav"), sound, 16_000)
    out = mux(video, Path(f"{name}.wav"), Path(f"{path.stem}-joined"))
    assert probe(out).duration_sec == video.duration_sec
    assert out.name == f"{path.stem}-joined.mp4"


@needs_proc
def test_closing_the_pictures_early_ends_ffmpeg(tmp_path: Path) -> None:
    graph = "testsrc2=size=640x480:rate=60:duration=4"
    run_ffmpeg("-f", "lavfi", "-i", graph, *H264, tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4")
    before = set(children())
    pictures = read_video_frames(video, CLOCK, 480, 640)
    assert isinstance(pictures, Iterator)
    next(pictures)
    assert len(set(children()) - before) == 1  # more pictures wait than a pipe can hold
    pictures.close()  # type: ignore[attr-defined]
    assert set(children()) == before


@needs_proc
def test_faulty_source_of_pictures_ends_ffmpeg(tmp_path: Path) -> None:
    def pictures() -> Iterator[np.ndarray]:
        yield from noise_pictures(3)
        raise KeyError("the source's own fault")

    before = set(children())
    with pytest.raises(KeyError):
        write_clip(tmp_path / "a.mp4", pictures(), Fraction(25), np.zeros(9, np.float32), 16_000)
    assert set(children()) == before
    assert list(tmp_path.iterdir()) == []
