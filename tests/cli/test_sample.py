"""`v2s sample`: its outputs, and bad input: one line, exit code 2, nothing overwritten."""

import dataclasses
import os
import shutil
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.ffmpeg import run_ffmpeg
from v2s_jax.cli import sample
from v2s_jax.cli.run import run_cli
from v2s_jax.config import TINY
from v2s_jax.io import directory_lock
from v2s_jax.media import probe, read_audio, write_clip
from v2s_jax.pretrained import PRETRAINED, what_it_knows
from v2s_jax.sonification import SampleOptions, clips, pipeline, sonify, stream_video

pytestmark = pytest.mark.usefixtures("compilation_cache", "engine_of_auto")

FPS = Fraction(25)
SAMPLE = [sys.executable, "-m", "v2s_jax", "sample"]


def make_video(path: Path, frame_count: int, seed: int = 0) -> Path:
    """A video of noise at 25 frames per second, with silent audio."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (frame_count, 48, 64, 3), np.uint8)
    silence = np.zeros(round(frame_count / FPS * 16_000), np.float32)
    write_clip(path, frames, FPS, silence, 16_000)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """A folder with two videos; tests copy it."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "one.mp4", 20, seed=1)
    make_video(folder / "two.mp4", 33, seed=2)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, checkpoint):
    """Run the command in this process; return exit code, stdout and stderr."""

    def command(*args: object, with_checkpoint: bool = True) -> tuple[int, str, str]:
        more = ["--checkpoint", str(checkpoint)] if with_checkpoint else []
        monkeypatch.setattr(sys, "argv", ["v2s", *map(str, args), *more])
        with pytest.raises(SystemExit) as exit_info:
            run_cli(sample.main)
        out, err = capsys.readouterr()
        return exit_info.value.code, out, err

    return command


def error_line(err: str) -> str:
    """The one line that starts with error:."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def levels(wav: Path) -> bytes:
    with wave.open(str(wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return file.readframes(file.getnframes())


@pytest.mark.slow
def test_a_folder_of_videos(run, videos, tmp_path):
    out = tmp_path / "out"
    code, out_text, _ = run("--video", videos, "--out", out)
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"{name}_sound{suffix}" for name in ("one", "two") for suffix in (".wav", ".mp4", ".png")
    )
    for name, frame_count in (("one", 20), ("two", 33)):
        samples = round(frame_count / FPS * 16_000)
        assert len(levels(out / f"{name}_sound.wav")) == 2 * samples
        generated = probe(out / f"{name}_sound.mp4")
        assert generated.has_audio
        assert generated.duration_sec == probe(videos / f"{name}.mp4").duration_sec
        assert str(out / f"{name}_sound.png") in out_text
    assert "x real time" in out_text


@pytest.mark.slow
def test_audio_depends_on_content_and_seed_only(run, videos, tmp_path):
    """Not on the file's name, the other videos, or the order."""
    lone = tmp_path / "re.named v2.mp4"
    shutil.copy(videos / "two.mp4", lone)
    run("--video", lone, "--out", tmp_path / "alone")
    run("--video", videos / "two.mp4", videos / "one.mp4", "--out", tmp_path / "both")
    run("--video", lone, "--out", tmp_path / "seed", "--seed", 1)
    alone = levels(tmp_path / "alone" / "re.named v2_sound.wav")
    assert alone == levels(tmp_path / "both" / "two_sound.wav")
    assert alone != levels(tmp_path / "seed" / "re.named v2_sound.wav")


def test_python_api_equals_the_command(run, videos, tmp_path, checkpoint):
    run("--video", videos / "one.mp4", "--out", tmp_path / "a")
    report = sonify(videos / "one.mp4", tmp_path / "b", SampleOptions(checkpoint=checkpoint))
    assert report.failed == {}
    assert levels(report.generated[0].wav) == levels(tmp_path / "a" / "one_sound.wav")
    waveform = read_audio(probe(report.generated[0].video), TINY.clock)
    assert np.abs(waveform).max() > 0.1


def test_existing_outputs_are_kept(run, videos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "one_sound.wav").write_bytes(b"mine")
    code, _, err = run("--video", videos / "one.mp4", "--out", out)
    assert code == 2
    assert "one_sound.wav: already exists: use --overwrite" in error_line(err)
    assert [p.name for p in out.iterdir()] == ["one_sound.wav"]
    assert (out / "one_sound.wav").read_bytes() == b"mine"
    assert run("--video", videos / "one.mp4", "--out", out, "--overwrite")[0] == 0
    assert len(levels(out / "one_sound.wav")) == 2 * 12_800


def test_one_bad_video_among_others(run, videos, tmp_path):
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    (folder / "text.mp4").write_text("this is no video")
    (folder / "notes.txt").write_text("not the name of a video, so ignored")
    code, out_text, err = run("--video", folder, "--out", tmp_path / "out")
    assert code == 2
    assert "text.mp4" in error_line(err)
    assert len(list((tmp_path / "out").iterdir())) == 6
    assert "2 generated" in out_text


def test_folders_keep_their_tree(run, videos, tmp_path):
    """As in VEGAS, with equal names in two classes; results inside the input are not read."""
    root = tmp_path / "vegas"
    for folder in ("dog/videos", "drum/videos", ".hidden"):
        (root / folder).mkdir(parents=True)
        shutil.copy(videos / "one.mp4", root / folder / "video_00000.mp4")
    (root / "drum" / "loop").symlink_to(root)
    for number in range(2):
        out = root / "out" if number else tmp_path / "out"
        code, _, err = run(root, "--out", out)
        assert code == 0, err
        names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        stems = (f"{name}/videos/video_00000_sound" for name in ("dog", "drum"))
        assert names == {f"{stem}{end}" for stem in stems for end in (".wav", ".mp4", ".png")}
    code, _, err = run(root, "--out", tmp_path / "again")
    assert code == 0 and not (tmp_path / "again" / "out").exists()


def test_positional_and_repeated_videos(run, videos, tmp_path):
    one, two = videos / "one.mp4", videos / "two.mp4"
    assert run(one, "--out", tmp_path / "a", "--video", two)[0] == 0
    assert run("--video", one, "--video", two, "--out", tmp_path / "b")[0] == 0
    for name in ("a", "b"):
        assert len(list((tmp_path / name).glob("*.wav"))) == 2


@pytest.mark.parametrize("lost", [".wav", ".mp4", ".png"])
def test_an_incomplete_set_is_completed(run, videos, tmp_path, lost):
    """As a run leaves it that is killed between the files."""
    out = tmp_path / "out"
    assert run(videos / "one.mp4", "--out", out)[0] == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    (out / f"one_sound{lost}").unlink()
    assert run(videos / "one.mp4", "--out", out)[0] == 0
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (out / f"one_sound{lost}").unlink()
    code, _, err = run(videos / "one.mp4", "--out", out, "--seed", 1)
    assert code == 2 and "already exists: use --overwrite" in error_line(err)


def test_leftovers_of_killed_runs_are_removed(run, videos, tmp_path):
    out = tmp_path / "out"
    (out / ".unfinished-0123").mkdir(parents=True)
    (out / ".unfinished-0123" / "one_sound.wav").touch()
    (out / ".unfinished-4567.wav").touch()
    assert run(videos / "one.mp4", "--out", out)[0] == 0
    assert {path.stem for path in out.iterdir()} == {"one_sound"}


def test_two_runs_into_one_folder(run, videos, tmp_path):
    with directory_lock(tmp_path / "out"):
        code, _, err = run(videos / "one.mp4", "--out", tmp_path / "out")
    assert code == 2 and "out: another process is writing there" in error_line(err)


def test_a_name_that_is_too_long_is_found_at_once(run, videos, tmp_path, monkeypatch):
    path = tmp_path / f"{'x' * 246}.mp4"
    shutil.copy(videos / "one.mp4", path)
    monkeypatch.setattr(clips, "file_hash", lambda path: pytest.fail("too late"))
    code, _, err = run(path, "--out", tmp_path / "out")
    assert code == 2 and "a name of 256 bytes, at most 255 are possible" in error_line(err)


def test_whatever_one_file_causes_stays_with_it(run, videos, tmp_path, monkeypatch):
    """A claimed length of years, too much memory, an error nobody thought of."""

    def probe_or_fail(path: Path):
        video = probe(path)
        if path.name == "one.mp4":
            return video
        if path.name == "two.mp4":
            return dataclasses.replace(video, duration_sec=Fraction(10**9))
        if path.name == "three.mp4":
            raise MemoryError("Unable to allocate 29.1 TiB")
        return dataclasses.replace(video, first_frame_sec=None)

    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    for name in ("three.mp4", "four.mp4"):
        shutil.copy(videos / "one.mp4", folder / name)
    monkeypatch.setattr(pipeline, "probe", probe_or_fail)
    code, out_text, err = run(folder, "--out", tmp_path / "out")
    assert code == 2 and "3 videos failed" in error_line(err) and "1 generated" in out_text
    assert "two.mp4: lasts 1000000000 s, more than" in err
    assert "three.mp4: cannot be processed (MemoryError: Unable to allocate 29.1 TiB)" in err
    assert "four.mp4: cannot be processed" in err
    assert len(levels(tmp_path / "out" / "one_sound.wav")) == 2 * 12_800


def test_stream_to_a_full_disk_is_one_line(videos, tmp_path, checkpoint):
    """A limit on the size of files fails as a full disk does, also when the file is closed."""
    args = [videos / "two.mp4", "--stream", "--checkpoint", checkpoint, "--out", tmp_path / "a.wav"]
    process = subprocess.run(
        ["bash", "-c", 'ulimit -f 4; "$@"', "bash", *SAMPLE, *map(str, args)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert "a.wav: cannot be written (File too large)" in error_line(process.stderr)


def bad_empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def bad_text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("renamed")
    return folder / "text.mp4"


def bad_sound_only(folder: Path) -> Path:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return path


def bad_missing(folder: Path) -> Path:
    return folder / "nowhere.mp4"


def bad_folder(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize("bad", [bad_empty, bad_text, bad_sound_only, bad_missing, bad_folder])
def test_bad_videos(run, tmp_path, bad):
    folder = tmp_path / "in"
    folder.mkdir()
    video = bad(folder)
    code, _, err = run("--video", video, "--out", tmp_path / "out")
    assert code == 2
    assert str(video) in error_line(err)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--temperature", "0"], "temperature 0.0: use a number from 0.001 up"),
        (["--temperature", "nan"], "temperature nan"),
        (["--seed", "-1"], "seed -1: use a whole number from 0"),
        (["--device", "abacus"], "--device abacus: use cpu, gpu, tpu"),
        (["--batch-size", "0"], "batch size 0: use at least 1"),
    ],
)
def test_bad_options(run, videos, tmp_path, args, message):
    code, _, err = run("--video", videos, "--out", tmp_path / "out", *args)
    assert code == 2
    assert message in error_line(err)


@pytest.mark.slow
def test_engine_and_weights(run, videos, tmp_path, checkpoint):
    args = ("--weights", "bfloat16", "--engine", "scan")
    code, out_text, _ = run("--video", videos / "one.mp4", "--out", tmp_path / "a", *args)
    assert code == 0
    assert "with the scan engine, bfloat16 weights" in out_text
    options = SampleOptions(checkpoint=checkpoint, engine="scan", weights="bfloat16")
    report = sonify(videos / "one.mp4", tmp_path / "b", options)
    assert (report.settings.engine, report.settings.weights) == ("scan", "bfloat16")
    expected = levels(tmp_path / "a" / "one_sound.wav")
    assert levels(report.generated[0].wav) == expected
    stream_video(videos / "one.mp4", tmp_path / "c.wav", options)
    assert levels(tmp_path / "c.wav") == expected


@pytest.mark.slow
def test_a_second_start_uses_the_compilation_cache(videos, tmp_path, checkpoint):
    """Two processes that share a cache, and one whose cache folder cannot be written."""

    def start(out: str, cache: Path) -> bytes:
        args = ["--video", videos / "one.mp4", "--out", tmp_path / out, "--checkpoint", checkpoint]
        process = subprocess.run(
            [*SAMPLE, *map(str, args), "--engine", "scan"],
            env=os.environ
            | {"JAX_ENABLE_COMPILATION_CACHE": "1", "XDG_CACHE_HOME": str(cache)}
            | {"JAX_LOGGING_LEVEL": "DEBUG"},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        hits.append(process.stderr.count("Persistent compilation cache hit"))
        return levels(tmp_path / out / "one_sound.wav")

    hits: list[int] = []
    first, second = (start(out, tmp_path / "cache") for out in ("a", "b"))
    (tmp_path / "file").touch()
    third = start("c", tmp_path / "file")
    assert first == second == third
    assert hits[0] == 0 and hits[1] > 0 and hits[2] == 0


def test_two_videos_of_one_name(run, videos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(videos / "two.mp4", other / "one.mp4")
    code, _, err = run("--video", videos / "one.mp4", other / "one.mp4", "--out", tmp_path / "out")
    assert code == 2
    assert "2 videos failed" in error_line(err)
    assert err.count("also named one") == 2


def test_output_folder_that_is_the_input_folder(run, videos):
    code, _, err = run("--video", videos, "--out", videos)
    assert code == 2
    assert "is also the output folder" in error_line(err)


def test_output_folder_that_cannot_be(run, videos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("--video", videos / "one.mp4", "--out", tmp_path / "file" / "out")
    assert code == 2
    assert "choose another folder" in error_line(err)


def test_bad_checkpoints(run, videos, tmp_path, checkpoint):
    args = ["--video", videos, "--out", tmp_path / "out", "--checkpoint"]
    cases = {tmp_path: "a folder without a checkpoint", tmp_path / "no": "no such checkpoint"}
    old = tmp_path / "old.safetensors"
    config = TINY.to_json().replace('"format_version": 2', '"format_version": 0', 1)
    save_file(load_file(checkpoint), old, metadata={"config": config})
    cases[old] = "config format 0"
    for path, message in cases.items():
        code, _, err = run(*args, path, with_checkpoint=False)
        assert code == 2
        assert message in error_line(err)
        assert str(path) in error_line(err)


@pytest.mark.slow
def test_a_truncated_video_gets_audio_for_what_it_holds(run, tmp_path):
    video, complete = make_video(tmp_path / "complete.mp4", 50), tmp_path / "complete.mkv"
    # Matroska has the index of its frames as it goes; mp4 has it at the end.
    run_ffmpeg("-i", video, "-c", "copy", complete)
    truncated = tmp_path / "truncated.mkv"
    truncated.write_bytes(complete.read_bytes()[: complete.stat().st_size * 6 // 10])
    code, out_text, _ = run("--video", truncated, "--out", tmp_path / "out")
    assert code == 0
    assert "warning: " in out_text and "truncated.mkv" in out_text
    assert 0 < len(levels(tmp_path / "out" / "truncated_sound.wav")) < 2 * 32_000


def test_a_video_of_one_frame(run, tmp_path):
    video = make_video(tmp_path / "one_frame.mp4", 1)
    code, out_text, _ = run("--video", video, "--out", tmp_path / "out")
    assert code == 0
    assert "warning: " in out_text
    assert len(levels(tmp_path / "out" / "one_frame_sound.wav")) == 2 * 640


def test_without_arguments_it_explains_itself(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["v2s"])
    sample.main()
    assert "v2s sample --video" in capsys.readouterr().out


def test_as_a_program(videos, tmp_path, checkpoint):
    """As users run it, from another folder."""
    args = ["--video", "one.mp4", "--out", str(tmp_path / "out"), "--checkpoint", str(checkpoint)]
    process = subprocess.run(
        [*SAMPLE, *args],
        cwd=videos,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "x real time" in process.stderr  # the progress bar
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_pretrained_models_say_what_they_know(checkpoint):
    for name, path in PRETRAINED.items():
        for given in (path, Path(name)):
            known = "fourteen sounds" if name == "real" else "ten drawn categories"
            assert what_it_knows(given).startswith(f"the pretrained model {name} knows {known}")
    assert what_it_knows(checkpoint) is None


def test_each_pretrained_model_has_its_temperature(checkpoint):
    assert SampleOptions().chosen_temperature == 0.9
    for name in PRETRAINED:
        options = SampleOptions(checkpoint=Path(name))
        assert options.chosen_temperature == (0.9 if name == "real" else 1.0)
        assert dataclasses.replace(options, temperature=1.2).chosen_temperature == 1.2
    assert SampleOptions(checkpoint=checkpoint).chosen_temperature == 1.0
