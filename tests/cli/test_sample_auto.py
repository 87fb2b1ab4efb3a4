"""`v2s sample --engine auto`: the first use, later ones, and the same again by what is printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_sample import SAMPLE, levels, make_video
from v2s_jax.checkpoints import load_params, params_digest
from v2s_jax.cli import sample
from v2s_jax.kernels.build import find_compiler
from v2s_jax.sonification import SampleOptions, sonify, stream_video
from v2s_jax.sonification.provenance import read_provenance

pytestmark = pytest.mark.usefixtures("compilation_cache")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", 20)


@pytest.fixture
def run(run_command, checkpoint, video):
    """Run the command; return what it prints and the samples of the wav."""

    def command(out: Path, *args: object) -> tuple[str, bytes]:
        args = (video, "--out", out, "--checkpoint", checkpoint, *args)
        code, text, err = run_command(sample.main, *args)
        assert code == 0, err
        return text, levels(out / "v_sound.wav")

    return command


def printed_flags(text: str) -> list[str]:
    """The options in the one line that says how to generate the same again."""
    (flags,) = re.findall(r"the same again: (.*)", text)
    return flags.split()


def test_the_printed_flags_give_the_same_again(run, engine_of_auto, tmp_path, video, checkpoint):
    text, expected = run(tmp_path / "auto", "--seed", 7, "--temperature", 0.9)
    flags = printed_flags(text)
    assert flags[:2] == ["--engine", engine_of_auto] and "note: the scan" not in text
    assert run(tmp_path / "again", *flags)[1] == expected
    options = SampleOptions(checkpoint=checkpoint, seed=7, temperature=0.9)
    report = sonify(video, tmp_path / "python", options)
    assert report.settings.flags().split() == flags
    assert levels(report.generated[0].wav) == expected
    streamed = stream_video(video, tmp_path / "streamed.wav", options)
    assert streamed.settings == report.settings
    assert levels(tmp_path / "streamed.wav") == expected


def test_every_take_has_its_settings(engine_of_auto, tmp_path, video, checkpoint):
    """In the report, and in the mark of origin of its files."""
    options = SampleOptions(checkpoint=checkpoint, seed=3, takes=2)
    report = sonify(video, tmp_path, options)
    assert {files.settings.seed for files in report.generated} == {3, 4}
    for files in report.generated:
        settings = files.settings
        assert settings.model == "tiny" and settings.engine == engine_of_auto
        assert settings.model_sha256 == params_digest(load_params(checkpoint)[1])
        mark = read_provenance(files.figure)
        for name in ("engine", "weights", "batch_size", "seed", "temperature"):
            assert getattr(mark, name) == getattr(settings, name)
        assert mark.params_sha256 == settings.model_sha256


def test_without_a_compiler(run, other_cache, no_compiler, tmp_path):
    """The program itself, for which no compiler is in PATH, says so in one line."""
    text, expected = run(tmp_path / "a")
    (note,) = [line for line in text.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: the scan engine ran, because there is no C++ compiler: install")
    assert printed_flags(text)[:2] == ["--engine", "scan"]
    text, again = run(tmp_path / "b", *printed_flags(text))
    assert again == expected and "note: " not in text
    assert not list(other_cache.glob("*.so"))


@pytest.mark.slow
def test_first_use_builds_in_the_background(run, other_cache, tmp_path, video, checkpoint):
    """The first sound is the scan's; the second run waits for nothing and uses the cpu engine."""
    if find_compiler() is None:
        pytest.skip("no C++ compiler")

    def start(out: str) -> tuple[str, bytes]:
        args = [video, "--out", tmp_path / out, "--checkpoint", checkpoint]
        command = [*SAMPLE, *map(str, args)]
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return process.stdout, levels(tmp_path / out / "v_sound.wav")

    text, first = start("first")
    assert "note: the scan engine ran while the C++ engine is built" in text
    flags = printed_flags(text)
    assert flags[:2] == ["--engine", "scan"]
    build = [sys.executable, "-m", "v2s_jax", "build"]
    subprocess.run(build, check=True, capture_output=True)  # waits for the one in the background
    text, second = start("second")
    assert printed_flags(text)[:2] == ["--engine", "cpu"] and "note: the scan" not in text
    assert run(tmp_path / "1", *flags)[1] == first
    assert run(tmp_path / "2", *printed_flags(text))[1] == second
