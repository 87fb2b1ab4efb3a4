"""`v2s prepare synthetic`: clips and a dataset, also after an interruption."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.child_processes import children, is_running, needs_proc, wait_for
from v2s_jax.config import Clock
from v2s_jax.datasets import open_dataset, waveform_to_int16
from v2s_jax.datasets.synthetic.clip_files import read_clip
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.generator import make_clip
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.errors import InputError
from v2s_jax.features.pixels import PixelsExtractor
from v2s_jax.io import directory_lock

CLOCK = Clock()
TWO = ("drum", "water_flowing")
MINI = Preset("mini", train_clips=2, test_clips=1, video_frames=8, categories=TWO)
CLIPS = 3 * len(TWO)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    folder = generate_dataset(out, DatasetSpec(MINI, 3), 2)
    assert folder == out / "synthetic_mini" / "2.0.0"
    return out


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "made")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "v2s_jax", "prepare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def change_times(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(out.glob("clips/*/*"))}


def test_dataset_holds_the_rendered_clips(made):
    for split, count in (("train", 4), ("test", 2)):
        data = open_dataset(made, split)
        assert len(data) == count
        for record in data:
            index = int(record.clip_id[-5:])
            clip = make_clip(record.category, split, index, 3, CLOCK, MINI.video_frames)
            assert record.clip_id == clip.clip_id
            np.testing.assert_array_equal(record.waveform, waveform_to_int16(clip.waveform))
            expected = PixelsExtractor().extract(clip.frames)
            difference = record.appearance.astype(np.float32) - expected.appearance
            assert np.abs(difference).mean() < 0.02  # H.264 loses a little
            assert record.motion.shape == expected.motion.shape


def test_metadata(made):
    data = open_dataset(made, "train")
    assert data.name == "synthetic_mini"
    assert data.clock == CLOCK
    assert data.categories == tuple(sorted(TWO))
    assert data.metadata["extractor"] == "pixels"
    assert data.metadata["samples_max"] == 8 * 1_024
    made_by = data.metadata["made_by"]
    assert (made_by["data_set"], made_by["preset"], made_by["seed"]) == ("synthetic", "mini", 3)


def test_categories_alternate(made):
    assert [record.category for record in open_dataset(made, "train")] == [*TWO] * 2


def test_records_of_equal_length_have_equal_size(made):
    data = open_dataset(made, "train")
    for category in TWO:
        assert len(set(data.of_category(category).index.length.tolist())) == 1


def test_every_clip_is_a_video_with_a_label(made):
    videos = sorted(made.glob("clips/*/*.mp4"))
    assert len(videos) == CLIPS
    for video in videos:
        label = json.loads(video.with_suffix(".json").read_text())
        index = label["recipe"]["index"]
        clip = make_clip(label["category"], label["recipe"]["split"], index, 3, CLOCK, 8)
        assert label["category"] == video.parent.name
        assert label["clip_id"] == video.stem == clip.clip_id
        assert label["events_sec"] == clip.events_sec.tolist()
    record = read_clip(videos[0], "any", CLOCK, PixelsExtractor())
    assert len(record.appearance) == 8


def test_existing_dataset_is_not_replaced(made):
    before = change_times(made)
    with pytest.raises(InputError, match="already exists: use --overwrite"):
        generate_dataset(made, DatasetSpec(MINI, 3), 1)
    assert change_times(made) == before


def test_overwriting_keeps_clips_and_renders_missing_ones(copy):
    lost = copy / "clips" / "drum" / "drum-train-00001.mp4"
    first = [record.waveform for record in open_dataset(copy, "train")]
    before = change_times(copy)
    lost.unlink()
    generate_dataset(copy, DatasetSpec(MINI, 3), 1, overwrite=True)
    after = change_times(copy)
    changed = {path.stem for path in before if before[path] != after[path]}
    assert changed == {lost.stem}
    again = [record.waveform for record in open_dataset(copy, "train")]
    assert all(map(np.array_equal, first, again))
    assert [path.name for path in (copy / "synthetic_mini").iterdir()] == ["2.0.0"]


def test_clips_of_another_seed_are_refused(copy):
    shutil.rmtree(copy / "synthetic_mini")
    with pytest.raises(InputError, match=r"drum-train-00000\.json: has seed 3: use"):
        generate_dataset(copy, DatasetSpec(MINI, 4), 1)
    assert not (copy / "synthetic_mini").exists()


def test_clip_of_another_seed_is_refused_before_rendering(copy, capfd):
    """Even the last clip: no progress bar is shown, and nothing is written."""
    last = copy / "clips" / "water_flowing" / "water_flowing-test-00000.json"
    kept = {path: path.read_bytes() for path in (last, last.with_suffix(".mp4"))}
    shutil.rmtree(copy)
    last.parent.mkdir(parents=True)
    for path, content in kept.items():
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"flowing-test-00000\.json: has seed 3: use"):
        generate_dataset(copy, DatasetSpec(MINI, 4), 1)
    files = {path for path in copy.rglob("*") if path.is_file() and path.name != ".lock"}
    assert files == {*kept}
    assert capfd.readouterr().err == ""


def test_truncated_clip_is_named(copy):
    video = copy / "clips" / "drum" / "drum-test-00000.mp4"
    video.write_bytes(video.read_bytes()[:2_000])
    with pytest.raises(InputError, match=r"drum-test-00000\.mp4") as caught:
        generate_dataset(copy, DatasetSpec(MINI, 3), 1, overwrite=True)
    assert "\n" not in str(caught.value)
    assert len(open_dataset(copy, "train")) == 4  # the old dataset is still there


@needs_proc
@pytest.mark.slow
def test_killed_run_leaves_no_dataset_and_resumes(tmp_path):
    program = f"""
from pathlib import Path
from tests.cli.test_prepare import MINI, DatasetSpec, generate_dataset
generate_dataset(Path({str(tmp_path)!r}), DatasetSpec(MINI, 3), 1)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        wait_for(lambda: len(list(tmp_path.glob("clips/*/*.json"))) >= 2)
        workers = children(process.pid)
        process.kill()
    assert workers
    wait_for(lambda: not any(is_running(worker) for worker in workers))
    with pytest.raises(InputError, match="no dataset found"):
        open_dataset(tmp_path, "train")
    finished = change_times(tmp_path)
    generate_dataset(tmp_path, DatasetSpec(MINI, 3), 1)
    assert len(open_dataset(tmp_path, "train")) == 4
    now = change_times(tmp_path)
    for label in (path for path in finished if path.suffix == ".json"):
        assert now[label] == finished[label]
        assert now[label.with_suffix(".mp4")] == finished[label.with_suffix(".mp4")]


def test_bad_arguments_are_one_line_and_code_2(made, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for arguments, message in (
        (
            ("--preset", "tinny", "--out", tmp_path),
            "did you mean tiny? Known: tiny, small, full, demo, pair",
        ),
        (("--out", file), "cannot be written"),
        (("--out", tmp_path, "--workers", "0"), "--workers 0: must be at least 1"),
        (("--out", tmp_path, "--seed", "-1"), "error: seed -1: must be at least 0"),
    ):
        ended = run("synthetic", *arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: ")
        assert message in ended.stderr
        assert ended.stderr.count("\n") == 1
        assert not ended.stdout


@pytest.mark.parametrize(
    ("nothing", "message"),
    [
        ({"categories": ()}, "needs a category, train clips and test clips"),
        ({"train_clips": 0}, "needs a category, train clips and test clips"),
        ({"test_clips": 0}, "needs a category, train clips and test clips"),
        ({"video_frames": 0}, "clips need at least 1 video frame"),
    ],
)
def test_empty_dataset_is_refused(nothing, message, tmp_path):
    with pytest.raises(InputError, match=f"preset mini: {message}"):
        generate_dataset(tmp_path, DatasetSpec(dataclasses.replace(MINI, **nothing), 3), 1)
    assert not list(tmp_path.iterdir())


def test_two_runs_at_once_are_refused(tmp_path):
    with directory_lock(tmp_path), pytest.raises(InputError, match="another process is writing"):
        generate_dataset(tmp_path, DatasetSpec(MINI, 3), 1)


@pytest.mark.parametrize("in_the_way", ["synthetic_mini", "clips"])
def test_unwritable_folder(tmp_path, in_the_way):
    (tmp_path / in_the_way).touch()
    with pytest.raises(InputError, match="cannot be written") as caught:
        generate_dataset(tmp_path, DatasetSpec(MINI, 3), 1)
    assert str(tmp_path / in_the_way) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_tiny_from_the_command_line(tmp_path):
    ended = run("synthetic", "--preset", "tiny", "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "70 train, 20 test and 10 extrapolation clips" in ended.stdout
    assert str(tmp_path / "synthetic_tiny" / "2.0.0") in ended.stdout
    again = run("synthetic", "--preset", "tiny", "--out", tmp_path)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("clips", [0, 2])
def test_ctrl_c_ends_without_traceback(tmp_path, clips):
    """Also while the workers are still importing modules."""
    command = [sys.executable, "-m", "v2s_jax", "prepare", "synthetic", "--out", str(tmp_path)]
    command += ["--workers", "2"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: len(children(process.pid)) == 3)  # two workers and the resource tracker
        wait_for(lambda: len(list(tmp_path.glob("clips/*/*.json"))) >= clips)
        workers = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("stopped\n")
    wait_for(lambda: not any(is_running(worker) for worker in workers), seconds=5)
    assert not list((tmp_path / "synthetic_tiny").iterdir())
