"""Tags and chapters, read back by other programs; samples stay what they are."""

import subprocess
import wave
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from tests.ffmpeg import run_ffmpeg
from v2s_jax.media import StreamingWav, mux, probe, read_metadata, write_part, write_wav
from v2s_jax.media.metadata import parse_metadata
from v2s_jax.quantize import waveform_to_int16

RATE_HZ = 16_000
TAGS = {"comment": "generated = yes; # [x]\\", "software": "v2s", "digital_source_type": "http://x"}
OWN = {
    "title": "A title",
    "comment": "mine",
    "location": "+48.1173+011.5167/",
    "creation_time": "2020-01-02T03:04:05.000000Z",
}
FRAMES = ("-f", "lavfi", "-i", "testsrc=d=2:r=25:s=64x48")
CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "ffv1", ".webm": "libvpx-vp9"}


def dump(path: Path) -> str:
    """What ffmpeg reads of a file."""
    return run_ffmpeg("-i", path, "-map_metadata", 0, "-f", "ffmetadata", "-").decode()


def make_video(path: Path, chapter_ends_ms: tuple[int, ...] = (500, 2000), late_sec=0) -> Path:
    """Two seconds with tags, chapters and a language."""
    text = path.with_suffix(".txt")
    starts = (0, *chapter_ends_ms[:-1])
    chapters = (
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle=part {number}\n"
        for number, (start, end) in enumerate(zip(starts, chapter_ends_ms, strict=True))
    )
    tags = "".join(f"{name}={value}\n" for name, value in OWN.items())
    text.write_text(f";FFMETADATA1\n{tags}{''.join(chapters)}")
    source = ("-itsoffset", late_sec, *FRAMES, "-f", "ffmetadata", "-i", text)
    target = ("-c:v", CODECS[path.suffix], "-metadata:s:v:0", "language=ita")
    run_ffmpeg(*source, "-map", "0:v", "-map_metadata", 1, "-map_chapters", 1, *target, path)
    return path


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "new.wav"
    write_wav(path, np.zeros(2 * RATE_HZ, np.float32), RATE_HZ, TAGS)
    return path


def check_sizes(path: Path) -> None:
    """RIFF's own size, and chunks that fill the file exactly."""
    data = path.read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    position = 12
    while position < len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    assert position == len(data)


def test_wav_tags_leave_the_samples_alone(tmp_path: Path) -> None:
    waveform = np.random.default_rng(0).uniform(-1, 1, 4_321).astype(np.float32)
    tagged, plain, library = (tmp_path / f"{name}.wav" for name in ("tagged", "plain", "library"))
    write_wav(tagged, waveform, RATE_HZ, TAGS)
    write_wav(plain, waveform, RATE_HZ)
    pcm = waveform_to_int16(waveform)
    with wave.open(str(library), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())
    assert plain.read_bytes() == library.read_bytes()
    check_sizes(tagged)
    with wave.open(str(tagged)) as file:
        assert file.getparams()[:4] == (1, 2, RATE_HZ, len(pcm))
        assert file.readframes(len(pcm)) == pcm.tobytes()
    np.testing.assert_array_equal(soundfile.read(tagged, dtype="int16")[0], pcm)
    with soundfile.SoundFile(tagged) as file:
        assert (file.comment, file.software) == (TAGS["comment"], TAGS["software"])
    assert read_metadata(tagged).get("comment") == TAGS["comment"]


def test_a_growing_wav_has_its_tags_and_sizes_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    with StreamingWav(path, RATE_HZ, overwrite=False, tags=TAGS) as growing:
        for blocks in range(1, 4):
            growing.write(np.full(1024, 0.5, np.float32))
            check_sizes(path)
            assert soundfile.info(path).frames == 1024 * blocks
    write_wav(tmp_path / "whole.wav", np.full(3 * 1024, 0.5, np.float32), RATE_HZ, TAGS)
    assert path.read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize("suffix", CODECS)
def test_mux_keeps_the_videos_own_metadata(tmp_path: Path, wav: Path, suffix: str) -> None:
    source = make_video(tmp_path / f"source{suffix}")
    plain = mux(probe(source), wav, tmp_path / "plain").path
    marked = mux(probe(source), wav, tmp_path / "marked", tags=TAGS).path
    for path in (plain, marked):
        text = dump(path)
        for name in ("title", "location", "creation_time"):
            assert f"{name}={OWN[name]}" in text.replace("LOCATION", "location")
        for chapter in ("START=0\n", "title=part 0", "title=part 1"):
            assert chapter in text
        assert [float(c.end_sec) for c in read_metadata(path).chapters] == [0.5, 2.0]
        # Which tool prints a stream's language differs; its own header has it.
        assert "(ita)" in header(path)
    assert read_metadata(plain).get("comment") == OWN["comment"]
    found = read_metadata(marked)
    assert found.get("comment") == f"{TAGS['comment']}\n{OWN['comment']}"
    assert found.get("digital_source_type") == TAGS["digital_source_type"]
    again = read_metadata(mux(probe(marked), wav, tmp_path / "again").path)
    for name in ("title", "comment", "digital_source_type"):
        assert again.get(name) == found.get(name)


def header(path: Path) -> str:
    """The line that ffmpeg prints of the first stream."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", path]
    log = subprocess.run([*command, "-f", "null", "-"], capture_output=True, check=True).stderr
    return next(line for line in log.decode().splitlines() if "Stream #0:0" in line)


def test_chapters_are_on_the_time_of_the_frames_and_end_with_them(tmp_path, wav) -> None:
    source = make_video(tmp_path / "late.mkv", (1_500, 2_500, 900_000), late_sec=1)
    video = probe(source)
    assert (video.audio_zero_sec, video.duration_sec) == (1, 2)
    out = mux(video, wav, tmp_path / "out").path
    chapters = read_metadata(out).chapters
    assert [(c.start_sec, c.end_sec) for c in chapters] == [
        (0, Fraction(1, 2)),
        (Fraction(1, 2), Fraction(3, 2)),
        (Fraction(3, 2), 2),
    ]
    assert probe(out).duration_sec == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_any_text_is_kept(tmp_path: Path, wav: Path, suffix: str) -> None:
    source = tmp_path / f"source{suffix}"
    run_ffmpeg(*FRAMES, "-c:v", CODECS[suffix], source)
    tags = {
        "comment": "long " * 60_000 + "\n[STREAM]\nline=2; # \\",
        "title": "\x1b[31m \u202e'\"$(true)`",
        "[chapter]": "no chapter",
        "a=b;c": "v",
    }
    found = read_metadata(mux(probe(source), wav, tmp_path / "out", tags=tags).path)
    for name, value in tags.items():
        assert (found.get(name) or "").rstrip(" ") == value
    assert not found.chapters


def test_damaged_chapters_are_left_out() -> None:
    text = "\n".join(
        [
            ";FFMETADATA1",
            "title=t",
            *("[CHAPTER]", "TIMEBASE=1/0", "START=0", "END=1"),
            *("[CHAPTER]", "TIMEBASE=1/1000", "START=x", "END=1"),
            *("[CHAPTER]", "TIMEBASE=1/1000", "END=1"),
            "[CHAPTER]",
        ]
    )
    assert parse_metadata(text) == ({"title": "t"}, ())
    assert parse_metadata("") == ({}, ())


def test_a_part_with_and_without_metadata(tmp_path: Path, wav: Path) -> None:
    """The page re-encodes results and keeps their mark; a blind study must not."""
    marked = mux(probe(make_video(tmp_path / "a.mp4")), wav, tmp_path / "marked", tags=TAGS).path
    for keeps in (True, False):
        part = tmp_path / f"{keeps}.mp4"
        write_part(probe(marked), 0.0, 1.0, part, with_metadata=keeps)
        assert (TAGS["comment"] in (read_metadata(part).get("comment") or "")) == keeps
        assert bool(read_metadata(part).chapters) == keeps
        assert ("A title" in dump(part)) == keeps
