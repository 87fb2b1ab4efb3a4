"""Original audio: its level in the mix, and tracks that cannot be decoded."""

from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from v2s_jax.config import Clock
from v2s_jax.media import (
    AudioTrack,
    find_audio_track,
    mp4_supports,
    mux,
    probe,
    read_audio,
    write_wav,
)

RATE_HZ = 16_000
NEW_HZ, OLD_HZ = 1_500, 440
PICTURES = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=1")
TONE = ("-f", "lavfi", "-i", f"sine=frequency={OLD_HZ}:sample_rate=48000:duration=1")
EMPTY = ("-f", "lavfi", "-i", "sine=duration=1,atrim=end=0")


def amplitude(path: Path, frequency_hz: int, track: int = 0) -> float:
    """The amplitude of a tone in the left channel."""
    args = ("-map", f"0:a:{track}", "-af", "pan=mono|c0=c0", "-ar", RATE_HZ, "-f", "f32le", "-")
    waveform = np.frombuffer(run_ffmpeg("-i", path, *args), "<f4")[4_000:12_000]
    times_sec = np.arange(len(waveform)) / RATE_HZ
    return float(2 * abs(np.mean(waveform * np.exp(-2j * np.pi * frequency_hz * times_sec))))


@pytest.fixture(scope="module")
def new_audio(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "new.wav"
    times_sec = np.arange(RATE_HZ) / RATE_HZ
    write_wav(path, (0.25 * np.sin(2 * np.pi * NEW_HZ * times_sec)).astype(np.float32), RATE_HZ)
    return path


def write_video(path: Path, *sources_and_options: object) -> Path:
    run_ffmpeg(*PICTURES, *sources_and_options, "-c:v", "libx264", path)
    return path


@pytest.mark.parametrize("channels", [1, 2])
def test_neither_sound_of_a_mix_is_lowered(tmp_path, new_audio, channels):
    video = write_video(tmp_path / "a.mp4", *TONE, "-ac", channels)
    track, problem = find_audio_track(video)
    assert (track, problem) == (AudioTrack(0, channels == 1), None)
    mixed = mux(probe(video), new_audio, tmp_path / "mixed", "mix", 0.0, track).path
    assert amplitude(mixed, NEW_HZ) == pytest.approx(0.25, rel=0.02)
    assert amplitude(mixed, OLD_HZ) == pytest.approx(amplitude(video, OLD_HZ), rel=0.02)


def test_the_first_track_that_can_be_decoded_is_used(tmp_path, new_audio):
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:a:0", "flac")
    video = write_video(tmp_path / "a.mkv", *EMPTY, *TONE, *maps)
    track, problem = find_audio_track(video)
    assert track == AudioTrack(1, True)
    assert problem == "audio track 1 is used, since track 0 cannot be decoded (it is empty)"
    waveform = read_audio(probe(video), Clock())
    assert np.abs(waveform).max() == pytest.approx(0.125, rel=0.05)
    for original, position in (("keep", 1), ("mix", 0)):
        muxed = mux(probe(video), new_audio, tmp_path / original, original, 0.0, track).path
        assert amplitude(muxed, OLD_HZ, position) == pytest.approx(0.125, rel=0.05)


@pytest.mark.parametrize(
    ("sources", "reason"),
    [((), None), ((*EMPTY, "-c:a", "flac"), "track 0 cannot be decoded (it is empty)")],
    ids=["no track", "empty track"],
)
def test_nothing_to_keep(tmp_path, new_audio, sources, reason):
    video = write_video(tmp_path / "a.mkv", *sources)
    assert find_audio_track(video) == (None, reason)
    for original in ("keep", "mix"):
        muxed = probe(mux(probe(video), new_audio, tmp_path / original, original).path)
        assert muxed.duration_sec == 1
        assert find_audio_track(muxed.path) == (AudioTrack(0, True), None)


def test_the_sound_may_be_why_mp4_is_not_written(tmp_path, new_audio):
    """MP4 holds H.264, but not the audio that is kept beside it."""
    video = write_video(tmp_path / "a.mkv", *TONE, "-c:a", "wmav2")
    track, _ = find_audio_track(video)
    muxed = mux(probe(video), new_audio, tmp_path / "kept", "keep", 0.0, track).path
    assert muxed.suffix == ".mkv" and mp4_supports(probe(video))
    run_ffmpeg(*PICTURES, "-c:v", "wmv2", tmp_path / "b.mkv")
    assert not mp4_supports(probe(tmp_path / "b.mkv"))
