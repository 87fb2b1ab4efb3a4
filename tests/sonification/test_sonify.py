"""`sonify`: takes, a prefix, the original audio."""

import dataclasses
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.media import probe, read_audio, read_video_frames, write_clip, write_wav
from v2s_jax.sonification import SampleOptions, clips, sonify
from v2s_jax.sonification.outputs import remove_stale_takes

pytestmark = pytest.mark.usefixtures("compilation_cache", "engine_of_auto")

SAMPLES = 16_000


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """One second with a tone as original audio."""
    path = tmp_path_factory.mktemp("video") / "tone.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (25, 48, 64, 3), np.uint8)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLES) / 16_000)
    write_clip(path, frames, Fraction(25), tone.astype(np.float32), 16_000)
    return path


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.mark.slow
def test_takes_are_the_next_seeds_likeliest_first(video, checkpoint, tmp_path):
    options = SampleOptions(checkpoint=checkpoint, seed=5, takes=3)
    report = sonify(video, tmp_path / "takes", options)
    assert [files.wav.name for files in report.generated] == [
        f"tone_sound_{rank}.wav" for rank in (1, 2, 3)
    ]
    bits = [files.bits_per_sample for files in report.generated]
    assert bits == sorted(bits) and len(set(bits)) == 3
    assert {files.settings.seed for files in report.generated} == {5, 6, 7}
    best = report.generated[0]
    alone = SampleOptions(checkpoint=checkpoint, seed=best.settings.seed)
    (files,) = sonify(video, tmp_path / "alone", alone).generated
    np.testing.assert_array_equal(samples_of(files.wav), samples_of(best.wav))
    with pytest.raises(InputError, match="0 takes"):
        sonify(video, tmp_path / "none", SampleOptions(takes=0))


@pytest.mark.slow
def test_takes_decode_a_video_once(video, checkpoint, tmp_path, monkeypatch):
    """With more takes than slots, so that the last start when others have ended."""
    decoded = []

    def count_calls(*args):
        decoded.append(args)
        return read_video_frames(*args)

    monkeypatch.setattr(clips, "read_video_frames", count_calls)
    options = SampleOptions(checkpoint=checkpoint, takes=3, batch_size=2)
    report = sonify(video, tmp_path / "takes", options)
    assert len(decoded) == 1
    last = next(files for files in report.generated if files.settings.seed == 2)
    alone = SampleOptions(checkpoint=checkpoint, seed=2, batch_size=2)
    (files,) = sonify(video, tmp_path / "alone", alone).generated
    np.testing.assert_array_equal(samples_of(files.wav), samples_of(last.wav))


def test_stale_takes_are_removed_and_nothing_else(tmp_path):
    def touch(rank, suffixes=(".wav", ".mp4", ".png")):
        for suffix in suffixes:
            (tmp_path / f"v_sound_{rank}{suffix}").touch()

    for rank in (1, 2, 3, 4, 6):
        touch(rank)
    touch(5, [".wav", ".png"])
    stem = tmp_path / "v_sound"
    before = set(tmp_path.iterdir())
    assert remove_stale_takes(stem, 1, set()) == []
    source = (tmp_path / "v_sound_4.mp4").resolve()
    removed = remove_stale_takes(stem, 2, {source})
    assert {path.name for path in removed} == {f"v_sound_3{s}" for s in (".wav", ".mp4", ".png")}
    assert set(tmp_path.iterdir()) == before - set(removed)
    touch(3)
    removed = remove_stale_takes(stem, 2, set())
    assert {path.stem for path in removed} == {"v_sound_3", "v_sound_4"}
    assert (tmp_path / "v_sound_6.wav").exists() and (tmp_path / "v_sound_5.png").exists()


@pytest.mark.slow
def test_overwriting_takes_leaves_the_takes_of_one_run(video, checkpoint, tmp_path):
    options = SampleOptions(checkpoint=checkpoint, overwrite=True, takes=3)
    sonify(video, tmp_path, options)
    report = sonify(video, tmp_path, dataclasses.replace(options, takes=2))
    assert len(report.removed) == 3
    assert {path.stem for path in tmp_path.iterdir()} == {"tone_sound_1", "tone_sound_2"}


@pytest.mark.slow
def test_audio_continues_a_prefix_file(video, checkpoint, tmp_path):
    # The prefix is read with exact weights, which are those of scan.
    options = SampleOptions(checkpoint=checkpoint, engine="scan")
    expected = samples_of(sonify(video, tmp_path / "a", options).generated[0].wav)
    prefix = tmp_path / "prefix.wav"
    write_wav(prefix, (expected[:4808] / np.float32(2**15)).astype(np.float32), 16_000)
    (files,) = sonify(video, tmp_path / "b", dataclasses.replace(options, prefix=prefix)).generated
    np.testing.assert_array_equal(samples_of(files.wav)[:6000], expected[:6000])
    long = tmp_path / "long.wav"
    write_wav(long, np.zeros(SAMPLES + 50, np.float32), 16_000)
    failed = sonify(video, tmp_path / "d", dataclasses.replace(options, prefix=long)).failed
    assert "give a shorter --prefix" in failed[video]
    text = tmp_path / "tone.txt"
    text.write_text("no audio")
    with pytest.raises(InputError, match=r"tone\.txt"):
        sonify(video, tmp_path / "c", dataclasses.replace(options, prefix=text))


def tone_of(path: Path, track: int) -> float:
    """The share of a track's power within 50 Hz of the original tone."""
    args = ("-map", f"0:a:{track}", "-ac", 1, "-ar", 16_000, "-f", "f32le", "-")
    waveform = np.frombuffer(run_ffmpeg("-i", path, *args), "<f4")
    power = np.abs(np.fft.rfft(waveform[:SAMPLES])) ** 2
    return float(power[950:1050].sum() / power.sum())


@pytest.mark.slow
def test_original_audio_is_dropped_kept_or_mixed(video, checkpoint, tmp_path):
    files = {
        options.original: sonify(video, tmp_path / options.original, options).generated[0]
        for options in (
            SampleOptions(checkpoint=checkpoint),
            SampleOptions(checkpoint=checkpoint, original="keep"),
            SampleOptions(checkpoint=checkpoint, original="mix", original_gain_db=12.0),
        )
    }
    dropped = tone_of(files["drop"].video, 0)
    assert tone_of(files["keep"].video, 0) == pytest.approx(dropped, abs=0.01)
    assert tone_of(files["keep"].video, 1) > 0.99
    assert dropped < 0.1 < 0.5 < tone_of(files["mix"].video, 0)
    for one in files.values():
        assert probe(one.video).duration_sec == 1
        assert read_audio(probe(one.video), TINY.clock).size == SAMPLES
    np.testing.assert_array_equal(samples_of(files["mix"].wav), samples_of(files["drop"].wav))
    with pytest.raises(InputError, match=r"12\.0 has no effect with original 'keep'"):
        sonify(video, tmp_path, SampleOptions(original="keep", original_gain_db=12.0))
