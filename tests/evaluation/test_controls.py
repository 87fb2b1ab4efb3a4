"""What people ask of sample.py beside a sound: takes, a prefix, the original sound."""

import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.ffmpeg import run_ffmpeg
from v2s_jax.config import TINY
from v2s_jax.errors import InputError
from v2s_jax.media import probe, read_audio, read_video_frames, write_clip, write_wav
from v2s_jax.sonification import features as of_features
from v2s_jax.sonification import sonify
from v2s_jax.sonification.outputs import remove_further_takes

SAMPLES = 16_000


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """One second with a tone of its own."""
    path = tmp_path_factory.mktemp("video") / "tone.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (25, 48, 64, 3), np.uint8)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLES) / 16_000)
    write_clip(path, frames, Fraction(25), tone.astype(np.float32), 16_000)
    return path


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_takes_are_the_next_seeds_likeliest_first(video, checkpoint, tmp_path):
    report = sonify(video, tmp_path / "takes", checkpoint=checkpoint, seed=5, takes=3)
    assert [made.wav.name for made in report.sounded] == [
        f"tone_sound_{rank}.wav" for rank in (1, 2, 3)
    ]
    bits = [made.bits_per_sample for made in report.sounded]
    assert bits == sorted(bits) and len(set(bits)) == 3
    assert {made.seed for made in report.sounded} == {5, 6, 7}
    best = report.sounded[0]
    alone = sonify(video, tmp_path / "alone", checkpoint=checkpoint, seed=best.seed).sounded[0]
    np.testing.assert_array_equal(samples_of(alone.wav), samples_of(best.wav))
    with pytest.raises(InputError, match="0 takes"):
        sonify(video, tmp_path / "none", checkpoint=checkpoint, takes=0)


def test_takes_decode_a_video_once(video, checkpoint, tmp_path, monkeypatch):
    """More takes than rows, so that the last begin when the first have ended; kept in a file."""
    monkeypatch.setattr(of_features, "IN_MEMORY_BYTES", 1)
    decoded = []

    def counted(*arguments):
        decoded.append(arguments)
        return read_video_frames(*arguments)

    monkeypatch.setattr(of_features, "read_video_frames", counted)
    report = sonify(video, tmp_path / "takes", checkpoint=checkpoint, takes=3, batch_size=2)
    assert len(decoded) == 1
    last = next(made for made in report.sounded if made.seed == 2)
    alone = sonify(video, tmp_path / "alone", checkpoint=checkpoint, seed=2, batch_size=2).sounded[
        0
    ]
    np.testing.assert_array_equal(samples_of(alone.wav), samples_of(last.wav))


def test_fewer_takes_remove_what_more_had_left_and_nothing_else(tmp_path):
    def made(rank, suffixes=(".wav", ".mp4", ".png")):
        for suffix in suffixes:
            (tmp_path / f"v_sound_{rank}{suffix}").touch()

    for rank in (1, 2, 3, 4, 6):
        made(rank)
    made(5, [".wav", ".png"])
    stem = tmp_path / "v_sound"
    before = set(tmp_path.iterdir())
    assert remove_further_takes(stem, 1, set()) == []
    source = (tmp_path / "v_sound_4.mp4").resolve()
    removed = remove_further_takes(stem, 2, {source})
    assert {path.name for path in removed} == {f"v_sound_3{s}" for s in (".wav", ".mp4", ".png")}
    assert set(tmp_path.iterdir()) == before - set(removed)
    made(3)
    removed = remove_further_takes(stem, 2, set())
    assert {path.stem for path in removed} == {"v_sound_3", "v_sound_4"}
    assert (tmp_path / "v_sound_6.wav").exists() and (tmp_path / "v_sound_5.png").exists()


def test_overwriting_takes_leaves_one_run_s_ranks(video, checkpoint, tmp_path):
    options = {"checkpoint": checkpoint, "overwrite": True}
    sonify(video, tmp_path, takes=3, **options)
    report = sonify(video, tmp_path, takes=2, **options)
    assert len(report.removed) == 3
    assert {path.stem for path in tmp_path.iterdir()} == {"tone_sound_1", "tone_sound_2"}


def test_a_sound_goes_on_from_a_prefix_file(video, checkpoint, tmp_path):
    whole = samples_of(sonify(video, tmp_path / "a", checkpoint=checkpoint).sounded[0].wav)
    prefix = tmp_path / "prefix.wav"
    write_wav(prefix, (whole[:4808] / np.float32(2**15)).astype(np.float32), 16_000)
    again = sonify(video, tmp_path / "b", checkpoint=checkpoint, prefix=prefix).sounded[0]
    np.testing.assert_array_equal(samples_of(again.wav)[:6000], whole[:6000])
    long = tmp_path / "long.wav"
    write_wav(long, np.zeros(SAMPLES + 50, np.float32), 16_000)
    failed = sonify(video, tmp_path / "d", checkpoint=checkpoint, prefix=long).failed
    assert "give a shorter --prefix" in failed[video]
    with pytest.raises(InputError, match=r"tone\.txt"):
        (tmp_path / "tone.txt").write_text("no sound")
        sonify(video, tmp_path / "c", checkpoint=checkpoint, prefix=tmp_path / "tone.txt")


def tone_of(path: Path, track: int) -> float:
    """The share of a track's power within 50 Hz of the original's tone."""
    wanted = ("-map", f"0:a:{track}", "-ac", 1, "-ar", 16_000, "-f", "f32le", "-")
    sound = np.frombuffer(run_ffmpeg("-i", path, *wanted), "<f4")
    power = np.abs(np.fft.rfft(sound[:SAMPLES])) ** 2
    return float(power[950:1050].sum() / power.sum())


def test_the_original_sound_is_dropped_kept_or_mixed(video, checkpoint, tmp_path):
    made = {
        original: sonify(
            video,
            tmp_path / original,
            checkpoint=checkpoint,
            original=original,
            original_gain_db=12.0 if original == "mix" else 0.0,
        ).sounded[0]
        for original in ("drop", "keep", "mix")
    }
    dropped = tone_of(made["drop"].video, 0)
    assert tone_of(made["keep"].video, 0) == pytest.approx(dropped, abs=0.01)
    assert tone_of(made["keep"].video, 1) > 0.99
    assert dropped < 0.1 < 0.5 < tone_of(made["mix"].video, 0)
    for one in made.values():
        assert probe(one.video).duration_sec == 1
        assert read_audio(probe(one.video), TINY.clock).size == SAMPLES
    np.testing.assert_array_equal(samples_of(made["mix"].wav), samples_of(made["drop"].wav))
    with pytest.raises(InputError, match=r"12\.0 changes nothing with original 'keep'"):
        sonify(video, tmp_path, checkpoint=checkpoint, original="keep", original_gain_db=12.0)
