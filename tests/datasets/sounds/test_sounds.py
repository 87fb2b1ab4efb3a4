"""Datasets of recordings: cleaning, split, duplicates, variations, and training on them."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from v2s_jax.checkpoints import load_params
from v2s_jax.cli import prepare, train
from v2s_jax.config import Clock
from v2s_jax.datasets import open_dataset
from v2s_jax.datasets.folders.manifest import MANIFEST, read_manifest
from v2s_jax.datasets.sounds.augmentation import augment
from v2s_jax.datasets.sounds.build import build_dataset, find_recordings
from v2s_jax.datasets.sounds.duplicates import find_duplicates
from v2s_jax.datasets.sounds.recording import (
    EDGE_SEC,
    MAX_PEAK,
    MAX_SILENCE_SEC,
    REFERENCE_DBFS,
    read_recording,
)
from v2s_jax.datasets.sounds.settings import SoundSettings
from v2s_jax.errors import InputError
from v2s_jax.features.controls import MOTION_DIM, part_levels_db
from v2s_jax.media import write_wav

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz


def noise(sec: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, round(sec * RATE_HZ)).astype(np.float32)


def record(path: Path, waveform: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, waveform, rate_hz)
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two classes of five recordings; one is in the test set under another name, one is silent."""
    root = tmp_path_factory.mktemp("recordings")
    for category, first in (("rain", 0), ("wind", 100)):
        for number in range(5):
            record(root / category / f"{number}.wav", noise(1.5, first + number))
    record(root / "rain" / "deep" / "copy of 4.wav", 0.5 * noise(1.5, 4)[4_000:])
    record(root / "rain" / "silent.wav", np.zeros(RATE_HZ, np.float32))
    (root / "rain" / "broken.mp3").write_bytes(b"no sound")
    (root / "rain" / "README.md").write_text("about")
    (root / "loose.wav").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def built(recordings, tmp_path_factory) -> SoundSettings:
    settings = SoundSettings(
        source=recordings,
        out=tmp_path_factory.mktemp("data"),
        test_files=("4*",),
        synthetic=("wind",),
        video_frames=16,
        copies=1,
    )
    build_dataset(settings)
    return settings


def test_synthetic_classes_are_told_apart(built, recordings, tmp_path):
    extraction = open_dataset(str(built.folder), "train").extraction
    assert extraction.categories == ("rain", "wind")
    assert extraction.synthetic_categories == ("wind",)
    unknown = SoundSettings(source=recordings, out=tmp_path, synthetic=("wnd",))
    with pytest.raises(InputError, match="--synthetic wnd: unknown: did you mean wind"):
        build_dataset(unknown)
    assert not list(tmp_path.iterdir())


def test_a_recording_is_trimmed_and_normalised(tmp_path):
    silence = np.zeros(RATE_HZ, np.float32)
    sound = noise(0.5, 0)
    path = record(tmp_path / "x.wav", np.concatenate([silence, sound, silence, silence, sound]))
    waveform = read_recording(path, CLOCK, 0.1)
    expected_sec = EDGE_SEC + 2 * 0.5 + MAX_SILENCE_SEC
    assert len(waveform) / RATE_HZ == pytest.approx(expected_sec, abs=0.05)
    levels = part_levels_db(waveform, CLOCK)
    assert np.percentile(levels, 95) == pytest.approx(REFERENCE_DBFS, abs=1)
    click = np.zeros(RATE_HZ, np.float32)
    click[8_000] = 0.5
    path = record(tmp_path / "click.wav", click)
    assert np.abs(read_recording(path, CLOCK, 0.01)).max() == pytest.approx(MAX_PEAK, abs=1e-3)


def test_any_rate_is_resampled(tmp_path):
    time_sec = np.arange(44_100) / 44_100
    path = record(
        tmp_path / "x.wav",
        np.float32(0.1) * np.sin(880 * np.pi * time_sec).astype(np.float32),
        44_100,
    )
    waveform = read_recording(path, CLOCK, 0.1)
    assert len(waveform) == pytest.approx(RATE_HZ, abs=300)
    assert np.abs(np.fft.rfft(waveform)).argmax() * RATE_HZ / len(waveform) == pytest.approx(
        440, abs=2
    )


def test_unusable_recordings_say_why(tmp_path):
    for waveform, message in (
        (np.zeros(RATE_HZ, np.float32), "is silent"),
        (noise(0.1, 0), r"0.1\d s of sound, less than 0.5"),
    ):
        with pytest.raises(InputError, match=message):
            read_recording(record(tmp_path / "x.wav", waveform), CLOCK, 0.5)


def test_one_recording_under_two_names_is_found():
    sounds = {str(seed): noise(2, seed) for seed in range(4)}
    clicks = np.zeros(2 * RATE_HZ, np.float32)
    clicks[[5_000, 17_000]] = 1.0
    cut = np.convolve(sounds["1"][9_000:], [0.5, 0.3, -0.1])
    assert find_duplicates(
        {"a": sounds["0"], "b": sounds["1"]}, {"c": sounds["2"], "d": cut}, CLOCK
    ) == {"d": "b"}
    other_clicks = 1e-2 * noise(2, 5) + np.roll(clicks, 3_000)
    assert not find_duplicates({"a": clicks + 1e-2 * noise(2, 6)}, {"b": other_clicks}, CLOCK)


def test_a_variation_is_another_sound_with_the_same_seed_the_same():
    waveform = noise(1, 0)
    one, again, other = (augment(waveform, RATE_HZ, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert len(one) != len(other)
    assert np.abs(one).max() <= np.abs(waveform).max() + 1e-6


def test_folder_becomes_a_dataset(built, recordings):
    train_clips, test_clips = (open_dataset(built.folder, split) for split in ("train", "test"))
    assert train_clips.categories == ("rain", "wind")
    assert train_clips.extraction.categories == ("rain", "wind")
    rows = {row.source: row for row in read_manifest(epath.Path(built.folder.parent / MANIFEST))}
    assert len(rows) == 13
    assert "the same recording as rain/4.wav" in rows["rain/deep/copy of 4.wav"].reason
    assert "is silent" in rows["rain/silent.wav"].reason
    assert rows["rain/broken.mp3"].status == "rejected"
    used = [row for row in rows.values() if row.status == "used"]
    assert {row.source for row in used if row.split == "test"} == {"rain/4.wav", "wind/4.wav"}
    # 8 recordings and a variation of each, in clips of at most 16 video frames.
    records = list(train_clips.read(range(len(train_clips))))
    assert len({record.clip_id for record in records}) == len(records) >= 32
    assert sum("~1" in record.clip_id for record in records) >= 16
    for clip in [*records, *test_clips.read(range(len(test_clips)))]:
        assert clip.motion.shape == (len(clip.appearance), MOTION_DIM)
        assert len(clip.appearance) == CLOCK.video_frames(len(clip.waveform)) <= 16
        assert (clip.appearance == [clip.category == "rain", clip.category == "wind"]).all()


def test_another_run_builds_the_same(built, tmp_path):
    again = dataclasses.replace(built, out=tmp_path)
    build_dataset(again)
    one, two = (open_dataset(settings.folder, "train") for settings in (built, again))
    for a, b in zip(one.read(range(len(one))), two.read(range(len(two))), strict=True):
        assert a.clip_id == b.clip_id
        np.testing.assert_array_equal(a.waveform, b.waveform)


def test_bad_folders(tmp_path, recordings, built, caplog):
    with pytest.raises(InputError, match="no such folder"):
        find_recordings(tmp_path / "absent", tmp_path)
    with pytest.raises(InputError, match="no recordings in class folders"):
        find_recordings(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="already exists"):
        build_dataset(built)
    record(tmp_path / "in" / "rain" / "only.wav", noise(1, 0))
    settings = SoundSettings(source=tmp_path / "in", out=tmp_path / "out")
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="no recording is held"):
        build_dataset(settings)
    assert "rain: no recording is held out" in caplog.text
    held_out = dataclasses.replace(settings, test_files=("only*",))
    with pytest.raises(InputError, match="every recording is held out"):
        build_dataset(held_out)
    assert not settings.folder.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video_frames": 0}, "--video-frames 0"),
        ({"copies": -1}, "--copies -1"),
        ({"min_sec": 6.0}, "--min-sec 6.0"),
        ({"name": "My-sounds"}, "--name My-sounds"),
        ({"sample_rate_hz": 100}, "--sample-rate-hz 100"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(InputError, match=message):
        SoundSettings(source=Path("in"), out=Path("out"), **changes).check()


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_commands_build_and_train(recordings, tmp_path, run_command, rate_hz):
    code, out, err = run_command(
        *(prepare.main, "sounds", recordings, "--out", tmp_path, "--video-frames", 8),
        *("--sample-rate-hz", rate_hz),
    )
    assert code == 0, err
    assert "train and" in out
    sizes = ("--model.dim", 16, "--model.mlp-dim", 16, "--model.context-dim", 8)
    code, out, err = run_command(
        *(
            train.main,
            "sounds",
            "--data",
            tmp_path / "sounds" / "1.0.0",
            "--workdir",
            tmp_path / "run",
        ),
        *(*sizes, "--training.steps", 4, "--training.decay-steps", 0, "--training.batch-clips", 8),
        *("--training.eval-every-steps", 4, "--training.log-audio-sec", 0.3),
        *("--training.steps-per-call", 1),
    )
    assert code == 0, err
    config, _ = load_params(tmp_path / "run")
    assert config.clock == Clock(rate_hz, 2_816 if rate_hz == 44_100 else 1_024)
    assert (config.model.appearance_dim, config.model.motion_dim) == (2, MOTION_DIM)
    assert config.extraction.categories == ("rain", "wind")


def test_names_and_doubles_across_classes(tmp_path, caplog):
    """A recording under two labels, ids that would collide, outputs inside the source."""
    root = tmp_path / "in"
    for category, file, seed in (
        *(("a", "b-c.wav", 0), ("a-b", "c.wav", 1), ("a", "test.wav", 2), ("a-b", "test.wav", 3)),
        *(("a-b", "again.wav", 2), ("a", "more.wav", 4)),
    ):
        record(root / category / file, noise(0.5, seed))
    (root / "none").mkdir()
    (root / "none" / "x.wav").write_bytes(b"no sound")
    settings = SoundSettings(
        source=root, out=root / "out", test_files=("test*",), overwrite=True, video_frames=4
    )
    for _ in range(2):  # the second run does not read the first one's outputs
        with caplog.at_level(logging.WARNING):
            rows = {row.source: row for row in build_dataset(settings)}
        assert len(rows) == 7
    assert "none: none of its files can be used" in caplog.text
    assert "the same recording as a/test.wav" in rows["a-b/again.wav"].reason
    clips = open_dataset(settings.folder, "train")
    ids = [clip.clip_id for clip in clips.read(range(len(clips)))]
    assert len(set(ids)) == len(ids) == 3 * 2
    record(root / "onset" / "x.wav", noise(0.5, 5))
    with pytest.raises(InputError, match="this name cannot be a category"):
        find_recordings(root, settings.out)
