"""Models of sounds: what is seen, a chosen category, curves from a file, no video at all."""

import re
import shlex
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import random_params
from tests.sounds_model import CONFIG
from v2s_jax.checkpoints import save_params
from v2s_jax.cli import sample
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.features.controls import CONTROLS_PER_FRAME
from v2s_jax.media import probe


@pytest.fixture(scope="module")
def sounds_model(tmp_path_factory, compilation_cache, engine_of_auto) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "sounds.safetensors"
    save_params(file, CONFIG, random_params(CONFIG))
    return file


def waveform_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_what_is_seen_is_printed_and_replaced(sounds_model, tmp_path, run_command):
    """The drawn drum shows nothing that ImageNet knows as a dog or a drum."""
    args = ("--checkpoint", sounds_model, EXAMPLE_VIDEO, "--out")
    exported, edited = tmp_path / "seen.csv", tmp_path / "edited.csv"
    code, out, err = run_command(sample.main, *args, tmp_path / "a", "--export-controls", exported)
    assert code == 0, err
    assert "  seen: d" in out
    code, out, err = run_command(sample.main, *args, tmp_path / "b", "--category", "drum")
    assert code == 0, err
    assert "  seen:" not in out
    code, _, err = run_command(sample.main, *args, tmp_path / "c", "--controls", exported)
    assert code == 0, err
    name = f"{EXAMPLE_VIDEO.stem}_sound.wav"
    seen, chosen, again = (waveform_of(tmp_path / run / name) for run in "abc")
    assert len(seen) == 2 * CONFIG.clock.samples(probe(EXAMPLE_VIDEO).duration_sec)
    assert seen != chosen
    np.testing.assert_allclose(len(again), len(seen))
    header, *lines = exported.read_text().splitlines()
    assert header == "time_sec,loudness,onset,dog,drum"
    edited.write_text("\n".join([header, *(line for line in lines if line.startswith("0."))][:9]))
    code, _, err = run_command(sample.main, *args, tmp_path / "d", "--controls", edited)
    assert code == 0, err
    assert waveform_of(tmp_path / "d" / name) != again


def test_an_exported_file_replaces_nothing(sounds_model, tmp_path, run_command):
    mine = tmp_path / "mine.csv"
    mine.write_text("time_sec,loudness,onset,dog\n0,1,0,1\n")
    args = ("--checkpoint", sounds_model, "--seconds", 0.2, "--category", "dog", "--out", tmp_path)
    code, _, err = run_command(sample.main, *args, "--export-controls", mine)
    assert code == 2
    assert "mine.csv: already exists" in err
    assert mine.read_text().count("\n") == 2
    assert not list(tmp_path.glob("*.wav"))


def test_a_stream_says_what_is_seen(sounds_model, tmp_path, run_command):
    args = ("--checkpoint", sounds_model, "--stream", EXAMPLE_VIDEO, "--out", tmp_path / "a.wav")
    code, _, err = run_command(sample.main, *args)
    assert code == 0, err
    assert "\nseen: d" in err


def test_a_stream_knows_no_future_beyond_the_lookahead(sounds_model, tmp_path, run_command):
    args = ("--checkpoint", sounds_model, "--stream", EXAMPLE_VIDEO, "--out", tmp_path / "a.wav")
    code, _, err = run_command(sample.main, *args, "--controls-shift-ms", -530)
    assert code == 2
    (line,) = err.splitlines()
    assert line.endswith("at most 512 ms earlier, the model's lookahead: use -512 or more")
    assert not [*tmp_path.iterdir()]


ADJUSTED = (
    *("--category", "dog", "--loudness-gain", 0.5, "--loudness-offset", -0.2),
    *("--controls-shift-ms", -200),
)


def test_adjusted_curves_are_used_exported_and_stated(
    sounds_model, tmp_path, run_command, monkeypatch
):
    """In a whole clip and in a stream, by the printed options and by the mark of origin."""
    args = ("--checkpoint", sounds_model, EXAMPLE_VIDEO, "--out")
    name = f"{EXAMPLE_VIDEO.stem}_sound.wav"
    csvs = [tmp_path / f"{run}.csv" for run in "ab"]
    for run, csv, options in zip("ab", csvs, (("--category", "dog"), ADJUSTED), strict=True):
        code, out, err = run_command(
            sample.main, *args, tmp_path / run, "--export-controls", csv, *options
        )
        assert code == 0, err
    plain, adjusted = (waveform_of(tmp_path / run / name) for run in "ab")
    assert plain != adjusted
    before, after = (np.loadtxt(csv, delimiter=",", skiprows=1).T for csv in csvs)
    parts = round(0.2 * float(CONFIG.clock.fps) * CONTROLS_PER_FRAME)
    expected = np.clip(0.5 + 0.5 * (before[1] - 0.5) - 0.2, 0, 1)  # the mean of all categories
    np.testing.assert_allclose(after[1, :-parts], expected[parts:], atol=1e-3)
    np.testing.assert_array_equal(after[2, :-parts], before[2, parts:])

    (flags,) = re.findall(r"the same again: (.*)", out)
    for option, value in zip(ADJUSTED[::2], ADJUSTED[1::2], strict=True):
        assert f"{option} {float(value) if option != '--category' else value}" in flags
    code, _, err = run_command(sample.main, *args, tmp_path / "c", *shlex.split(flags))
    assert code == 0, err
    assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    code, _, err = run_command(sample.main, *args, tmp_path / "d.wav", "--stream", *ADJUSTED)
    assert code == 0, err
    assert waveform_of(tmp_path / "d.wav") == adjusted
    assert shlex.split(flags) == shlex.split(err.splitlines()[-1].partition("again: ")[2])

    shutil.copy(EXAMPLE_VIDEO, tmp_path)
    shutil.copy(sounds_model, tmp_path)
    monkeypatch.chdir(tmp_path)
    figure = (tmp_path / "b" / name).with_suffix(".png")
    code, out, err = run_command(sample.main, "--describe", figure)
    assert code == 0, err
    code, _, err = run_command(sample.main, *shlex.split(out.splitlines()[-1])[2:])
    assert code == 0, err
    assert (tmp_path / "again" / figure.name).read_bytes() == figure.read_bytes()


def test_adjusted_curves_without_a_video(sounds_model, tmp_path, run_command):
    """A file that was exported with its adjustment gives the same without one."""
    args = ("--checkpoint", sounds_model, "--seconds", 0.5, "--out")
    exported = tmp_path / "dog.csv"
    code, _, err = run_command(
        sample.main, *args, tmp_path / "a", *ADJUSTED, "--export-controls", exported
    )
    assert code == 0, err
    code, _, err = run_command(sample.main, *args, tmp_path / "b", "--controls", exported)
    assert code == 0, err
    waveforms = [waveform_of(tmp_path / run / "dog_sound.wav") for run in "ab"]
    assert waveforms[0] == waveforms[1]


def test_sound_without_a_video(sounds_model, tmp_path, run_command, monkeypatch):
    args = ("--checkpoint", sounds_model, "--seconds", 0.5, "--out")
    waveforms = []
    for run, options in (("a", ()), ("b", ()), ("c", ("--seed", 1))):
        code, _, err = run_command(
            sample.main, *args, tmp_path / run, "--category", "dog", *options
        )
        assert code == 0, err
        assert (tmp_path / run / "dog_sound.png").exists()
        waveforms.append(waveform_of(tmp_path / run / "dog_sound.wav"))
    assert len(waveforms[0]) == 2 * CONFIG.clock.sample_rate_hz // 2
    assert waveforms[0] == waveforms[1] != waveforms[2]
    code, _, err = run_command(sample.main, *args, tmp_path / "a", "--category", "dog")
    assert code == 2
    assert "already exists" in err
    curves = tmp_path / "bark.csv"
    curves.write_text("time_sec,loudness,onset,dog\n0,0.1,0,1\n0.2,1,1,1\n")
    code, _, err = run_command(sample.main, *args, tmp_path / "e", "--controls", curves)
    assert code == 0, err
    assert (tmp_path / "e" / "bark_sound.wav").exists()
    for path, options in (
        (tmp_path / "c" / "dog_sound.wav", "--seconds 0.5 --category dog"),
        (tmp_path / "e" / "bark_sound.png", "--seconds 0.5 --controls bark.csv"),
    ):
        code, out, err = run_command(sample.main, "--describe", path)
        assert code == 0, err
        line = out.splitlines()[-1]
        assert f" {options} " in line and "--video" not in line
        monkeypatch.chdir(tmp_path)
        shutil.copy(sounds_model, tmp_path)
        code, _, err = run_command(sample.main, *shlex.split(line)[2:], "--overwrite")
        assert code == 0, err
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_takes_without_a_video(sounds_model, tmp_path, run_command):
    """Each is the sound of its seed alone, whatever its rank; the first is the likeliest."""
    args = ("--checkpoint", sounds_model, "--seconds", 0.3, "--category", "dog", "--out")
    code, out, err = run_command(sample.main, *args, tmp_path / "takes", "--takes", 3, "--seed", 5)
    assert code == 0, err
    bits = [float(text) for text in re.findall(r"seed \d+: ([\d.]+) bits per sample", out)]
    seeds = [int(text) for text in re.findall(r"seed (\d+): ", out)]
    assert bits == sorted(bits) and sorted(seeds) == [5, 6, 7]
    for rank, seed in enumerate(seeds, 1):
        code, _, err = run_command(sample.main, *args, tmp_path / str(seed), "--seed", seed)
        assert code == 0, err
        take = tmp_path / "takes" / f"dog_sound_{rank}.wav"
        assert take.read_bytes() == (tmp_path / str(seed) / "dog_sound.wav").read_bytes()
        assert take.with_suffix(".png").exists()
    fewer = (*args, tmp_path / "takes", "--takes", 2, "--seed", 5)
    code, _, err = run_command(sample.main, *fewer)
    assert code == 2 and "already exists" in err
    code, out, err = run_command(sample.main, *fewer, "--overwrite")
    assert code == 0 and "removed takes of an earlier run" in out
    assert len(list((tmp_path / "takes").glob("*.wav"))) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--category", "dgo"), "--category dgo: unknown: did you mean dog?"),
        (("--category", "dog", "--controls", "x.csv"), "give one; the file has"),
        (("--controls", "absent.csv"), "absent.csv: cannot be read as CSV"),
        (("--category", "dog", "--seconds", "2"), "--seconds: leave out videos"),
        (("--controls", "a.csv", "--export-controls", "b.csv"), "give one; the file is there"),
        (("--export-controls", EXAMPLE_VIDEO), "name a file that ends in .csv"),
        (("--export-controls", "/proc/x/y.csv"), "/proc/x"),
        (("--stream", "--controls", "x.csv"), "a stream has no --takes"),
        (("--checkpoint", "frame", "--category", "dog"), "reads pixels of videos, no controls"),
        (("--checkpoint", "frame", "--loudness-gain", "2"), "leave out --loudness-gain, or use a"),
        (("--loudness-offset", "1.1"), "--loudness-offset 1.1: use a number from -1 to 1"),
    ],
)
def test_bad_options_with_a_video(sounds_model, tmp_path, run_command, args, message):
    if "--checkpoint" not in args:
        args = ("--checkpoint", sounds_model, *args)
    code, _, err = run_command(sample.main, EXAMPLE_VIDEO, "--out", tmp_path / "out", *args)
    assert code == 2
    assert message in err
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--seconds", "2"), "--seconds: give --category or --controls"),
        (("--seconds", "0", "--category", "dog"), "--seconds 0"),
        (("--seconds", "nan", "--category", "dog"), "--seconds nan"),
        (("--seconds", "2", "--category", "dog", "--original", "mix"), "leave out --original"),
        (
            ("--seconds", "2", "--category", "dog", "--takes", "2", "--export-controls", "x.csv"),
            "leave out --takes",
        ),
    ],
)
def test_bad_options_without_a_video(sounds_model, tmp_path, run_command, args, message):
    code, _, err = run_command(
        sample.main, "--checkpoint", sounds_model, "--out", tmp_path / "out", *args
    )
    assert code == 2
    assert message in err
