"""The page of takes: what is nearest in the dataset, copies, and keeping some."""

import re
import shutil

import numpy as np
import pytest

from v2s_jax.cli import takes as command
from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.evaluation.takes.nearest import (
    WINDOW_HOP_SEC,
    TrainingSounds,
    best_correlation,
    cut_windows,
)
from v2s_jax.evaluation.takes.page import KEPT_FILE, PAGE_FILE, find_takes
from v2s_jax.media import write_wav

CLOCK = Clock()
RATE_HZ = CLOCK.sample_rate_hz


def bursts(seed: int, low_hz: float, high_hz: float, sec: float = 4.0) -> np.ndarray:
    """Bursts of noise in a band, at random times."""
    random = np.random.default_rng(seed)
    samples = round(sec * RATE_HZ)
    spectrum = np.fft.rfft(random.normal(size=samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    noise = np.fft.irfft(np.where((hz > low_hz) & (hz < high_hz), spectrum, 0), samples)
    envelope = np.zeros(samples)
    for start in random.integers(0, samples - 4_000, 8):
        envelope[start : start + 4_000] += np.exp(-np.arange(4_000) / 800)
    sound = noise * envelope
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="module")
def sounds() -> TrainingSounds:
    """Ten low and ten high sounds."""
    clips = {f"low-{seed}": bursts(seed, 100, 600) for seed in range(10)}
    clips |= {f"high-{seed}": bursts(seed, 2_000, 6_000) for seed in range(10, 20)}
    cuts = [cut_windows(waveform, RATE_HZ) for waveform in clips.values()]
    return TrainingSounds(
        CLOCK,
        tuple(clips),
        tuple(clips.values()),
        np.concatenate([windows for windows, _ in cuts]),
        np.repeat(np.arange(len(cuts)), [len(windows) for windows, _ in cuts]),
        np.concatenate([starts_sec for _, starts_sec in cuts]),
    )


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_nearest_sound_has_the_spectrum_of_the_take(sounds, gain):
    """Whatever the loudness; another sound of the kind is not a copy."""
    low = sounds.nearest(gain * bursts(100, 100, 600))
    high = sounds.nearest(gain * bursts(101, 2_000, 6_000))
    assert low.clip_id.startswith("low") and high.clip_id.startswith("high")
    assert not low.is_copy and not high.is_copy
    assert 0 < low.distance_db < 40
    assert len(low.waveform) == RATE_HZ


def test_copy_is_found_where_it_is(sounds):
    """Two seconds of a training clip, quieter, amid another sound and with other noise."""
    take = bursts(102, 2_000, 6_000)
    original = bursts(3, 100, 600)
    take[RATE_HZ : 3 * RATE_HZ] = 0.4 * original[2 * RATE_HZ : 4 * RATE_HZ]
    take += np.random.default_rng(0).normal(0, 1e-3, len(take)).astype(np.float32)
    found = sounds.nearest(take)
    assert found.is_copy and found.clip_id == "low-3"
    assert found.start_sec - found.take_start_sec == pytest.approx(1, abs=2 * WINDOW_HOP_SEC)


def test_correlation_is_of_the_part_that_is_covered():
    random = np.random.default_rng(1)
    whole = random.normal(size=5_000).astype(np.float32)
    part = -0.1 * whole[3_000:3_500]
    assert best_correlation(part, whole) == pytest.approx(1, abs=1e-6)
    noisy = part + 0.1 * random.normal(size=500).astype(np.float32)
    assert best_correlation(noisy, whole) == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert best_correlation(random.normal(size=500).astype(np.float32), whole) < 0.25
    assert best_correlation(np.zeros(500, np.float32), whole) == 0
    assert best_correlation(whole, whole[1_000:4_000]) == pytest.approx(np.sqrt(0.6), abs=0.05)


def test_short_take_is_compared_whole(sounds):
    found = sounds.nearest(bursts(103, 100, 600)[:4_000])
    assert found.clip_id.startswith("low") and found.take_start_sec == 0


@pytest.fixture
def folder(tmp_path):
    """Eleven takes of one clip, whose names have to be escaped, and a file of something else."""
    folder = tmp_path / "takes"
    folder.mkdir()
    for rank in range(1, 12):
        write_wav(folder / f"a&b #1_sound_{rank}.wav", bursts(rank, 100, 900, 1.0), RATE_HZ)
        (folder / f"a&b #1_sound_{rank}.png").touch()
    (folder / "notes.txt").touch()
    return folder


def test_page_lists_takes_and_moves_the_others(run_command, folder, fixture_dataset):
    code, out, err = run_command(command.main, folder, "--data", fixture_dataset)
    assert code == 0, err
    assert f"{PAGE_FILE}: open it in a browser" in out
    page = (folder / PAGE_FILE).read_text()
    names = re.findall(r'data-name="([^"]*)"', page)
    assert names == [f"a&amp;b #1_sound_{rank}.wav" for rank in range(1, 12)]
    assert 'src="a%26b%20%231_sound_1.wav"' in page
    assert page.count("Nearest training sound") == page.count("data:audio/wav") == 11
    kept = folder.parent / KEPT_FILE
    kept.write_text("a&b #1_sound_3.wav\na&b #1_sound_11.wav\n")
    code, out, err = run_command(command.main, folder, "--keep", kept)
    assert code == 0, err
    assert out.startswith("18 files moved")
    assert [path.stem for path in find_takes(folder)] == ["a&b #1_sound_3", "a&b #1_sound_11"]
    assert len(list((folder / "discarded").iterdir())) == 18
    assert (folder / "notes.txt").exists()


def test_page_needs_no_dataset(run_command, folder):
    code, _, err = run_command(command.main, folder)
    assert code == 0, err
    assert "Nearest" not in (folder / PAGE_FILE).read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("other_sound_1.wav\n", "names 'other_sound_1.wav', not in"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (None, "no such file"),
        ("\n", "keeps no take"),
    ],
)
def test_bad_list_moves_nothing(run_command, folder, content, message):
    kept = folder.parent / KEPT_FILE
    if content is not None:
        kept.write_bytes(content.encode() if isinstance(content, str) else content)
    code, _, err = run_command(command.main, folder, "--keep", kept)
    assert code == 2 and message in err.lower() if content is None else message in err
    assert len(find_takes(folder)) == 11 and not (folder / "discarded").exists()


def test_nothing_is_overwritten_in_the_folder_of_the_discarded(run_command, folder):
    (folder / "discarded").mkdir()
    (folder / "discarded" / "a&b #1_sound_2.png").touch()
    (folder.parent / KEPT_FILE).write_text("a&b #1_sound_1.wav\n")
    code, _, err = run_command(command.main, folder, "--keep", folder.parent / KEPT_FILE)
    assert code == 2 and "already exists: move it elsewhere" in err
    assert len(find_takes(folder)) == 11


def test_folders_and_files_that_are_no_takes(run_command, folder, tmp_path):
    code, _, err = run_command(command.main, tmp_path / "nowhere")
    assert code == 2 and "nowhere" in err
    code, _, err = run_command(command.main, tmp_path)
    assert code == 2 and "give the --out of v2s sample" in err
    (folder / "a&b #1_sound_2.wav").write_bytes(b"RIFF")
    code, _, err = run_command(command.main, folder)
    assert code == 2 and "sound_2.wav" in err and "Traceback" not in err
    assert not (folder / PAGE_FILE).exists()
    shutil.rmtree(folder)
    code, _, err = run_command(command.main, folder, "--keep", "x", "--data", "y")
    assert code == 2 and "--keep and --data: give one" in err


def test_dataset_that_is_none(folder, run_command):
    code, _, err = run_command(command.main, folder, "--data", folder)
    assert code == 2 and "Traceback" not in err
    with pytest.raises(InputError):
        find_takes(folder / "nothing")
