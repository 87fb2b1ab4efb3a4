"""Legal but odd files: late, trimmed, several streams; and hostile ones: gaps, other files, sizes.

The synchrony tests show white and sound a tone at the same time.
"""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from tests.media.test_media import (
    BITS,
    CLOCK,
    H264,
    HEIGHT_PX,
    STRIPE_PX,
    click_position,
    expected_at_rate,
    numbered,
    shown_numbers,
    with_slow,
    write_click,
)
from tests.mp4_boxes import refer_to, set_edits
from v2s_jax.errors import InputError
from v2s_jax.media import (
    Original,
    PipeReader,
    Video,
    mux,
    probe,
    read_audio,
    read_audio_file,
    read_video_frames,
    write_part,
    write_wav,
)
from v2s_jax.media.edit_list import read_edit_end

EVENT_SEC = (1.0, 1.4)
MB = 10**6


def tone(duration_sec: float = 3) -> tuple[str, ...]:
    start, end = EVENT_SEC
    graph = f"aevalsrc='0.5*sin(6283*t)*between(t,{start},{end})':s=48000:d={duration_sec}"
    return ("-f", "lavfi", "-i", graph)


def flash(duration_sec: float = 3, size: str = "64x48") -> tuple[str, ...]:
    start, end = EVENT_SEC
    white = f"drawbox=t=fill:color=white:enable='between(t,{start},{end}-0.001)'"
    return ("-f", "lavfi", "-i", f"color=black:size={size}:rate=25:duration={duration_sec},{white}")


def white_sec(video: Video) -> tuple[float, float]:
    """Return when the images become white and black again, to a video frame."""
    white = [image.mean() > 127 for image in read_video_frames(video, CLOCK, 8, 8)]
    frame_sec = float(1 / CLOCK.fps)
    return white.index(True) * frame_sec, (len(white) - white[::-1].index(True)) * frame_sec


def tone_sec(video: Video) -> tuple[float, float]:
    loud = np.flatnonzero(np.abs(read_audio(video, CLOCK)) > 0.1)
    return loud[0] / CLOCK.sample_rate_hz, loud[-1] / CLOCK.sample_rate_hz


def check_sync(path: Path, event_sec: Sequence[float], duration_sec: Fraction) -> Video:
    """Check length and synchrony of a file, and that its copy shows the same."""
    video = probe(path)
    assert video.duration_sec == pytest.approx(duration_sec, abs=1e-4)
    assert white_sec(video) == pytest.approx(event_sec, abs=0.064)
    assert tone_sec(video) == pytest.approx(event_sec, abs=0.035)  # MP3 has a delay of 23 ms
    samples = CLOCK.samples(video.duration_sec)
    muxed = mux(video, write_click(path.parent, samples), path.parent / "muxed")
    copy = probe(muxed.path)
    assert copy.first_frame_sec == 0
    assert 0 <= copy.duration_sec - video.duration_sec < Fraction(1, 25)
    pairs = zip(
        read_video_frames(video, CLOCK, 8, 8), read_video_frames(copy, CLOCK, 8, 8), strict=False
    )
    assert all(np.abs(a.astype(int) - b).max() < 16 for a, b in pairs)
    assert click_position(read_audio(copy, CLOCK)) == pytest.approx(samples // 2, abs=9)
    assert any("encoded again" in line for line in muxed.warnings) == (video.copy_fault is not None)
    return video


# Late, trimmed, without display times


@pytest.mark.parametrize(
    "late", with_slow("1234 a.mkv", "20 a.mp4", "95440 a.ts", fast=("12 a.ts",))
)
def test_late_first_image(tmp_path: Path, late: str) -> None:
    late_sec, name = late.split()
    scale = ("-video_track_timescale", 90_000) if name == "a.mp4" else ()
    codecs = (*H264, "-bf", "2", "-c:a", "aac", *scale, "-output_ts_offset", late_sec)
    run_ffmpeg(*flash(), *tone(), *codecs, tmp_path / name)
    video = check_sync(tmp_path / name, EVENT_SEC, Fraction(3))
    assert video.copy_fault is None


EDITS = {
    "middle cut out": ([(0.0, 0.5), (0.9, 2.1)], 0.6, 2.6),
    "start in a group of pictures": ([(0.44, 2.0)], 0.56, 2.0),
    "end inside an image": ([(0.0, 2.51)], 1.0, 2.51),
    "reordered": ([(2.0, 0.4), (0.8, 1.0)], 0.6, 1.4),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_lists(tmp_path: Path, name: str) -> None:
    edits, start_sec, duration_sec = EDITS[name]
    path = tmp_path / "a.mov"
    run_ffmpeg(*flash(), *tone(), *H264, "-bf", "2", "-g", "50", "-c:a", "aac", path)
    set_edits(path, edits)
    video = check_sync(path, (start_sec, start_sec + 0.4), Fraction(duration_sec))
    assert video.copy_fault is not None


def test_damaged_edit_lists_raise_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    run_ffmpeg(*flash(0.2), *H264, path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    index = data.index(b"moov")
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(index, len(data))])
        for position in rng.integers(index - 4, len(damaged), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        read_edit_end(path)
    path.write_bytes(data)
    assert read_edit_end(path) is not None


@pytest.mark.parametrize(("original", "track"), [("keep", 1), ("mix", 0)])
def test_original_audio_follows_the_edits(tmp_path: Path, original: Original, track: int) -> None:
    path = tmp_path / "a.mov"
    run_ffmpeg(*flash(), *tone(), *H264, "-c:a", "aac", path)
    set_edits(path, [(0.0, 0.5), (0.9, 2.1)])
    write_wav(tmp_path / "silent.wav", np.zeros(41_600, np.float32), 16_000)
    out = mux(probe(path), tmp_path / "silent.wav", tmp_path / "out", original).path
    pcm = run_ffmpeg("-i", out, "-map", f"0:a:{track}", "-ac", 1, "-ar", 16_000, "-f", "f32le", "-")
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<f4")) > 0.1) / 16_000
    assert (loud[0], loud[-1]) == pytest.approx((0.6, 1.0), abs=0.02)


@pytest.mark.parametrize("codec", with_slow("mpeg4", fast=("libx264",)))
def test_b_frames_in_avi(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.avi"
    run_ffmpeg(*flash(), *tone(), "-c:v", codec, "-bf", "2", "-c:a", "libmp3lame", path)
    assert check_sync(path, EVENT_SEC, Fraction(3)).copy_fault is not None


def test_raw_stream_keeps_all_images(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *H264, "-bf", "2", tmp_path / "a.h264")
    muxed = mux(probe(tmp_path / "a.h264"), write_click(tmp_path, 32_000), tmp_path / "out")
    video = probe(muxed.path)
    assert (video.packets.frames, video.duration_sec) == (50, 2)
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)
    assert "encoded again" in muxed.warnings[0]


# Several video streams


def test_default_stream_is_chosen(tmp_path: Path) -> None:
    maps = ("-map", "0", "-map", "1", "-disposition:v:0", "0", "-disposition:v:1", "default")
    run_ffmpeg(*flash(size="32x32"), *numbered("25", 50), *maps, *H264, tmp_path / "a.mkv")
    video = probe(tmp_path / "a.mkv")
    assert (video.width, video.height) == (BITS * STRIPE_PX, HEIGHT_PX)
    assert "has 2 video streams" in video.warnings[0]
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)
    muxed = probe(mux(video, write_click(tmp_path, 32_000), tmp_path / "out").path)
    assert shown_numbers(muxed) == expected_at_rate(Fraction(25), 50)


def test_still_is_not_chosen(tmp_path: Path) -> None:
    run_ffmpeg(*numbered("25", 50), *H264, tmp_path / "video.mp4")
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x64", "-frames:v", "1", tmp_path / "still.png")
    inputs = ("-i", tmp_path / "still.png", "-i", tmp_path / "video.mp4", "-map", "0", "-map", "1")
    marks = ("-disposition:v:0", "default", "-disposition:v:1", "0")
    run_ffmpeg(*inputs, "-c:v:0", "mjpeg", "-c:v:1", "copy", *marks, tmp_path / "a.mkv")
    video = probe(tmp_path / "a.mkv")
    assert video.duration_sec == 2
    assert shown_numbers(video) == expected_at_rate(Fraction(25), 50)


# Other files


MANIFESTS = {
    "a.mp4": "ffconcat version 1.0\nfile other.ts\n",
    "b.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000"><BaseURL>'
    "other.ts"
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "c.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "d.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "e.sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_refused(tmp_path: Path, name: str) -> None:
    run_ffmpeg(*flash(1), *tone(1), *H264, "-c:a", "aac", tmp_path / "other.ts")
    (tmp_path / name).write_text(MANIFESTS[name])
    with pytest.raises(InputError, match=f"{name}: is not a video"):
        probe(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: (is not a video or audio|no audio)"):
        read_audio_file(tmp_path / name, 16_000)
    with (tmp_path / name).open("rb") as file, pytest.raises(InputError, match="standard input"):
        list(PipeReader(file.fileno(), CLOCK).read_video_frames(8, 8))


def test_patterns_of_names_are_refused(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color", "-frames:v", "1", tmp_path / "image1.png")
    (tmp_path / "image%d.png").write_bytes((tmp_path / "image1.png").read_bytes())
    with pytest.raises(InputError, match="is not a video"):
        probe(tmp_path / "image%d.png")


def test_tracks_in_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.mov", "other.mov"):
        run_ffmpeg(*flash(1), *tone(1), *H264, "-c:a", "aac", tmp_path / name)
    refer_to(tmp_path / "a.mov", str(tmp_path / "other.mov"))
    for read in (probe, lambda path: read_audio_file(path, 16_000)):
        with pytest.raises(InputError, match=r"a\.mov: refers to another file"):
            read(tmp_path / "a.mov")


def test_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for read in (probe, lambda path: read_audio_file(path, 16_000)):
        with pytest.raises(InputError, match="fifo: is not a regular file"):
            read(tmp_path / "fifo")


# Bounded memory


def write_gap(path: Path, gap_sec: float) -> None:
    """Write a video of two images, with a gap between them."""
    source = ("-f", "lavfi", "-i", "color=red:size=64x48:rate=1:duration=2")
    times = ("-vf", f"setpts=N*{gap_sec}/TB", "-fps_mode", "passthrough")
    run_ffmpeg(*source, *times, "-enc_time_base", "1/1000", *H264, "-bf", "0", path)


# Prints the number of video frames or samples, and the peak memory of ffmpeg and of this process.
MEASURE = """
import resource, sys
from pathlib import Path
from v2s_jax.config import Clock
from v2s_jax.media import PipeReader, probe, read_audio, read_audio_file, read_video_frames
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    count = sum(1 for _ in read_video_frames(probe(path), Clock(), 128, 128))
elif kind == "pipe":
    count = sum(1 for _ in PipeReader(0, Clock()).read_video_frames(128, 128))
elif kind == "prefix":
    count = len(read_audio_file(path, 16_000, 1_000))
else:
    count = int(abs(read_audio(probe(path), Clock())).sum())
used = [resource.getrusage(who).ru_maxrss // 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(count, *used)
"""


def measure(kind: str, path: Path) -> int:
    """Read a file in another process; return the count, and check the memory."""
    with path.open("rb") as file:
        command = [sys.executable, "-c", MEASURE, kind, str(path)]
        done = subprocess.run(command, stdin=file, check=True, capture_output=True, text=True)
    count, own_mib, ffmpeg_mib = map(int, done.stdout.split())
    assert own_mib < 300
    assert ffmpeg_mib < 150
    return count


def test_part_inside_a_gap_shows_the_image_before_it(tmp_path: Path) -> None:
    graph = f"{flash(2.0)[3]},setpts=PTS+gt(T\\,1.2)*36000/TB"
    times = ("-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    run_ffmpeg("-f", "lavfi", "-i", graph, *times, *H264, "-bf", "0", tmp_path / "a.mkv")
    video = probe(tmp_path / "a.mkv")
    write_part(video, 30_000.0, 30_002.0, tmp_path / "part.mp4", with_audio=False)
    part = probe(tmp_path / "part.mp4")
    assert float(part.duration_sec) == pytest.approx(2, abs=0.05)
    assert {image.mean() > 200 for image in read_video_frames(part, CLOCK, 8, 8)} == {True}


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_gap_of_hours_takes_no_memory(tmp_path: Path, kind: str) -> None:
    write_gap(tmp_path / "a.mkv", 36_000)
    assert measure(kind, tmp_path / "a.mkv") >= 36_000 * CLOCK.fps


def test_gap_in_the_audio_takes_no_memory(tmp_path: Path) -> None:
    """The gap is behind the images, where nothing of it is needed."""
    late = "asetpts='PTS+gt(T,2)*36000*48000'"
    run_ffmpeg(*flash(), *tone(), *H264, "-af", late, "-c:a", "pcm_s16le", tmp_path / "a.mkv")
    assert measure("audio", tmp_path / "a.mkv") > 0


def test_long_prefix_is_read_as_far_as_needed(tmp_path: Path) -> None:
    samples = 36_000 * 8_000
    header = b"RIFF" + struct.pack("<I", 36 + samples) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 8_000, 1, 8)
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(header + b"data" + struct.pack("<I", samples))
        file.truncate(len(header) + 8 + samples)
    assert measure("prefix", tmp_path / "a.wav") == 1_000


def test_claimed_years_are_refused(tmp_path: Path) -> None:
    write_gap(tmp_path / "a.mkv", 4 * 10**6)
    with pytest.raises(InputError, match=r"a\.mkv: lasts 400000\d s .*more than 24 hours"):
        probe(tmp_path / "a.mkv")
    with (tmp_path / "a.mkv").open("rb") as file, pytest.raises(InputError, match="24 hours"):
        list(PipeReader(file.fileno(), CLOCK).read_video_frames(8, 8))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of another process is Linux's")
def test_huge_images_are_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", 14_000, 14_000, 8, 2, 0, 0, 0)
    rows = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9 * 42_001)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + rows + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"a\.png: takes more than \d+ MiB to decode"):
        probe(tmp_path / "a.png")


def test_claimed_shape_of_pixels_is_bounded(tmp_path: Path) -> None:
    run_ffmpeg(*flash(0.2), "-vf", "setsar=20/1", *H264, tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").width_at(160) == 8 * 160
