"""Video files of many kinds, intact and corrupt, in `v2s prepare folder`.

The video turns from black to white when a tone starts, at 1 s, so that each clip shows whether
video and audio are still in sync.
"""

import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.build_dataset import build_dataset
from v2s_jax.datasets.folders.decode import FeatureCache
from v2s_jax.datasets.folders.manifest import Row, read_manifest
from v2s_jax.datasets.folders.settings import FolderSettings

CHANGE_SEC = 1.0
SEC = 2.0
RATE_HZ, FRAME_SAMPLES = 16_000, 1_024
SLACK_SAMPLES = 2_100  # half a video frame of picture, a coded block of sound, a picture at 5 fps
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "gbrp", "-c:a", "pcm_s16le")


def picture(sec: float = SEC, fps: object = 25, size: str = "64x48") -> tuple[str, ...]:
    change = f"drawbox=t=fill:color=white:enable='gte(t,{CHANGE_SEC})'"
    return ("-f", "lavfi", "-i", f"color=black:size={size}:rate={fps}:duration={sec},{change}")


def sound(
    sec: float = SEC,
    rate_hz: int = 44_100,
    channels: str = "stereo",
    change_sec: float = CHANGE_SEC,
) -> tuple[str, ...]:
    tone = f"if(gte(t,{change_sec}),0.5*sin(2*PI*440*t),0)"
    count = {"mono": 1, "stereo": 2, "5.1": 6}[channels]
    graph = f"aevalsrc='{'|'.join([tone] * count)}':s={rate_hz}:d={sec}:c={channels}"
    return ("-f", "lavfi", "-i", graph)


def ffmpeg(*arguments: object) -> Callable[[Path], None]:
    return lambda path: void(run_ffmpeg(*arguments, path))


def void(_: object) -> None: ...


def data(content: bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(content))


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def cut(of: str, tenths: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        whole = path.with_name(of).read_bytes()
        path.write_bytes(whole[: round(len(whole) * tenths / 10)])

    return make


def long_duration(path: Path) -> None:
    """The plain file, with 50 times its duration in the header."""
    content = bytearray(path.with_name("plain.mp4").read_bytes())
    place = content.index(b"mvhd") + 4 + 16  # version, flags, two dates, time scale
    (duration,) = struct.unpack_from(">I", content, place)
    struct.pack_into(">I", content, place, duration * 50)
    path.write_bytes(content)


def wrong_bits(path: Path) -> None:
    content = bytearray(path.with_name("old.avi").read_bytes())
    random = np.random.default_rng(5)
    for place in random.integers(len(content) // 3, 2 * len(content) // 3, 40):
        content[place] ^= 0xFF
    path.write_bytes(content)


@dataclass(frozen=True)
class Kind:
    """How a file is made, and what is expected of it."""

    make: Callable[[Path], None]
    used: bool
    message: str = ""
    """Part of the reason, or of a correction; empty: no correction but cutting and looping."""
    turns: bool = True
    """Whether the change of picture and sound can be measured."""


def used(make: Callable[[Path], None], message: str = "", turns: bool = True) -> Kind:
    return Kind(make, True, message, turns)


def rejected(make: Callable[[Path], None], message: str) -> Kind:
    return Kind(make, False, message)


PLAIN = (*picture(), *sound(), *H264)
LONG_NAME = "ö" * 120 + ".mp4"  # 244 bytes of the 255 that file systems allow

KINDS: dict[str, Kind] = {
    "plain.mp4": used(ffmpeg(*PLAIN)),
    "whole.mkv": used(ffmpeg(*PLAIN, "-g", 5)),
    "front.mp4": used(ffmpeg(*PLAIN, "-g", 5, "-movflags", "+faststart")),
    # containers and codecs
    "vp8.webm": used(ffmpeg(*picture(), *sound(), "-c:v", "libvpx", "-deadline", "realtime")),
    "apple.mov": used(ffmpeg(*PLAIN, "-c:a", "pcm_s16be")),
    "old.avi": used(ffmpeg(*picture(), *sound(), "-c:v", "mpeg4", "-c:a", "pcm_s16le")),
    "flash.flv": used(ffmpeg(*picture(), *sound(), "-c:v", "flv1", "-c:a", "aac")),
    "stream.ts": used(ffmpeg(*PLAIN)),
    "disc.mpg": used(ffmpeg(*picture(), *sound(), "-c:v", "mpeg2video", "-c:a", "mp2")),
    "camera.MP4": used(ffmpeg(*PLAIN, "-f", "mp4", "-g", 7)),
    "mute.gif": rejected(ffmpeg(*picture()), "has no audio"),
    # pictures
    "ten_bit.mkv": used(ffmpeg(*picture(), *sound(), *H264[:4], "-pix_fmt", "yuv420p10le")),
    "interlaced.mp4": used(ffmpeg(*PLAIN, "-flags", "+ildct+ilme", "-x264opts", "tff=1")),
    "odd_size.mkv": used(ffmpeg(*picture(size="65x49"), *sound(), *LOSSLESS)),
    "one_pixel.mkv": used(ffmpeg(*picture(size="1x1"), *sound(), *LOSSLESS)),
    "tall.mp4": used(ffmpeg(*picture(size="16x640"), *sound(), *H264)),
    "fps5.mp4": used(ffmpeg(*picture(fps=5), *sound(), *H264)),
    "fps12.mp4": used(ffmpeg(*picture(fps="12.5"), *sound(), *H264)),
    "fps60.mp4": used(ffmpeg(*picture(fps="60000/1001"), *sound(), *H264), "cut to whole"),
    "fps240.mp4": used(ffmpeg(*picture(fps=240), *sound(), *H264)),
    "variable.mp4": used(
        ffmpeg(*PLAIN, "-vf", "select='lt(n,10)+not(mod(n,5))'", "-fps_mode", "vfr")
    ),
    "one_frame.mp4": rejected(ffmpeg(*PLAIN, "-frames:v", 1), "too short: 0.0"),
    "still.mkv": used(
        ffmpeg(*picture(fps="1/2"), *sound(), *LOSSLESS), "has one frame only", turns=False
    ),
    # sound
    "mono8.mkv": used(ffmpeg(*picture(), *sound(rate_hz=8_000, channels="mono"), *H264)),
    "rate11.mkv": used(ffmpeg(*picture(), *sound(rate_hz=11_025), *H264, "-c:a", "pcm_s16le")),
    "rate12345.mkv": used(ffmpeg(*picture(), *sound(rate_hz=12_345), *H264, "-c:a", "pcm_u8")),
    "rate96.mkv": used(ffmpeg(*picture(), *sound(rate_hz=96_000), *H264, "-c:a", "flac")),
    "rate192.mkv": used(ffmpeg(*picture(), *sound(rate_hz=192_000), *H264, "-c:a", "pcm_s24le")),
    "surround.mkv": used(ffmpeg(*picture(), *sound(channels="5.1"), *H264, "-c:a", "ac3")),
    "short_sound.mp4": used(
        ffmpeg(*picture(), *sound(1.5), *H264), "audio ends first: video cut at 1.5"
    ),
    "long_sound.mp4": used(
        ffmpeg(*picture(), *sound(4), *H264), "video ends first: audio cut at 2.000 s"
    ),
    "late_sound.mkv": used(
        ffmpeg(*picture(), "-itsoffset", 0.7, *sound(1.3, change_sec=0.3), *LOSSLESS),
        "0.700 s of silence added",
    ),
    "silent.mp4": used(
        ffmpeg(*picture(), "-f", "lavfi", "-i", f"anullsrc=d={SEC}", *H264, "-shortest"),
        "silent throughout",
        turns=False,
    ),
    "picture_only.mp4": rejected(ffmpeg(*picture(), *H264), "has no audio"),
    "sound_only.mp4": rejected(ffmpeg(*sound()), "has no video stream"),
    "tiny_sound.mp4": rejected(ffmpeg(*picture(), *sound(0.2), *H264), "too short: 0.2"),
    # lengths and times
    "long.mp4": used(
        ffmpeg(*picture(12), *sound(12), *H264), "cut to its first 9.984 s of 12.000 s"
    ),
    "exact.mkv": used(ffmpeg(*picture(9.984, fps="125/8"), *sound(9.984), *LOSSLESS)),
    "half.mp4": used(ffmpeg(*picture(0.6), *sound(0.6), *H264), "silent", turns=False),
    "short.mp4": rejected(ffmpeg(*picture(0.4), *sound(0.4), *H264), "at least 0.5 s are needed"),
    "late_start.mkv": used(ffmpeg(*PLAIN, "-output_ts_offset", 3.3)),
    "duration.mp4": used(long_duration),
    "rotated.mp4": used(
        lambda path: void(
            run_ffmpeg(
                "-display_rotation", 90, "-i", path.with_name("plain.mp4"), "-c", "copy", path
            )
        )
    ),
    # names and places
    "Füße, 犬 & 'quotes' $HOME; %d.mp4": used(ffmpeg(*PLAIN, "-g", 3)),
    "two\nlines.mp4": used(ffmpeg(*PLAIN, "-g", 4)),
    LONG_NAME: used(ffmpeg(*PLAIN, "-g", 6)),
    "-option.mp4": used(ffmpeg(*PLAIN, "-g", 8)),
    "plain_copy.mp4": rejected(
        lambda path: void(path.write_bytes(path.with_name("plain.mp4").read_bytes())),
        "the same bytes as",
    ),
    "old_link.mp4": rejected(link("old.avi"), "the same bytes as"),
    "loop.mp4": rejected(link("loop.mp4"), "Too many levels of symbolic links"),
    "nowhere.mp4": rejected(link("no_such_file"), "No such file"),
    "unreadable.mp4": rejected(link("/proc/self/mem"), "cannot be read"),
    "pipe.mp4": rejected(os.mkfifo, "not a regular file"),
    # not videos
    "empty.mp4": rejected(data(b""), "is empty"),
    "text.mp4": rejected(data(b"hello\n"), "not a video"),
    "page.mp4": rejected(data(b"<!DOCTYPE html><html>Sign in</html>" * 50), "not a video"),
    "zeros.mp4": rejected(data(bytes(100_000)), "not a video"),
    "noise.mp4": rejected(data(np.random.default_rng(1).bytes(50_000)), "not a video"),
    "playlist.mp4": rejected(data(b"#EXTM3U\n#EXTINF:2,\nplain.mp4\n"), "not a video"),
    "notes.txt": rejected(data(b"hello\n"), "no file name of a video"),
    # corrupt files
    **{
        f"cut{tenths}.mp4": rejected(cut("plain.mp4", tenths), "not a video that ffmpeg can read")
        for tenths in (0.01, 1, 3, 6, 9)  # the index is at the end
    },
    **{f"cut{tenths}.mkv": used(cut("whole.mkv", tenths), "corrupt or cut") for tenths in (8, 9)},
    "cut1.mkv": rejected(cut("whole.mkv", 1), "File ended prematurely"),
    **{
        f"front{tenths}.mp4": used(cut("front.mp4", tenths), "corrupt or cut", turns=tenths > 6)
        for tenths in (5, 6, 7, 8, 9)  # the index is at the start
    },
    "bits.avi": used(wrong_bits, turns=False),
}


FAST = (
    *("plain.mp4", "whole.mkv", "front.mp4", "vp8.webm", "old.avi", "mute.gif", "fps60.mp4"),
    *("mono8.mkv", "short_sound.mp4", "silent.mp4", "sound_only.mp4", "duration.mp4"),
    *("plain_copy.mp4", "empty.mp4", "text.mp4", "cut9.mp4", "cut8.mkv", "front7.mp4"),
)
"""Kinds of file in the fast tests."""

Built = tuple[Path, dict[str, Row]]
"""The output folder, and the manifest by file name."""


def build(root: Path, kinds: Iterable[str]) -> Built:
    videos = root / "videos"
    (videos / "kinds").mkdir(parents=True)
    for name in kinds:
        KINDS[name].make(videos / "kinds" / name)
    (videos / "kinds" / "videos").symlink_to("..")  # a folder that contains itself
    settings = FolderSettings(str(videos), str(root / "out"), test_clips=3, workers=1)
    build_dataset(settings)
    rows = {Path(row.source).name: row for row in read_manifest(settings.manifest)}
    return root / "out", rows


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    return build(tmp_path_factory.mktemp("files"), FAST)


@pytest.fixture(scope="module")
def built_from_all(tmp_path_factory) -> Built:
    return build(tmp_path_factory.mktemp("files"), KINDS)


def check_file(built: Built, name: str) -> None:
    """Check a row of the manifest, and that video and audio of the clip are in sync."""
    out, rows = built
    row, kind = rows[name], KINDS[name]
    assert row.status == ("used" if kind.used else "rejected"), row
    if not kind.used:
        assert row.reason and kind.message in row.reason
        assert "\n" not in row.reason and "Traceback" not in row.reason
        return
    corrections = [text for text in row.corrections if not text.startswith(("looped", "cut to wh"))]
    assert kind.message in " ".join(row.corrections)
    if not kind.message:
        assert all("ends first" in text for text in corrections)  # codecs pad to whole blocks
    clip = FeatureCache(str(out / "cache")).read(row.features or "")
    assert clip is not None
    assert (len(clip.appearance), clip.waveform.size) == (row.video_frames, row.samples)
    assert clip.waveform.size == len(clip.appearance) * FRAME_SAMPLES
    if kind.turns:
        white = np.argmax(clip.appearance.astype(np.float32).mean(axis=1) > 0.5)
        loud = np.argmax(np.abs(clip.waveform.astype(np.int32)) > 3_000)
        assert abs(white * FRAME_SAMPLES - CHANGE_SEC * RATE_HZ) < SLACK_SAMPLES
        assert abs(loud - CHANGE_SEC * RATE_HZ) < SLACK_SAMPLES


@pytest.mark.parametrize("name", FAST)
def test_file(built, name):
    check_file(built, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_file(built_from_all, name):
    check_file(built_from_all, name)


def test_dataset_matches_the_manifest(built):
    out, rows = built
    used_rows = {row.clip_id: row for row in rows.values() if row.status == "used"}
    clip_ids = set()
    for split in ("train", "test"):
        for record in open_dataset(out, split):
            assert used_rows[record.clip_id].split == split
            assert record.waveform.size == 159_744 and len(record.appearance) == 156
            clip_ids.add(record.clip_id)
    assert clip_ids == set(used_rows)


def test_folder_that_contains_itself_is_rejected(built):
    _, rows = built
    assert rows["videos"].status == "rejected"
    assert rows["videos"].reason == "is a link to one of its parent folders"
