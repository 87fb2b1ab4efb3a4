"""`v2s train`: options, data, and errors."""

import re
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from v2s_jax.checkpoints import load_params
from v2s_jax.cli import train
from v2s_jax.cli.run import run_cli
from v2s_jax.config import VALIDATION
from v2s_jax.datasets import feature_statistics, open_dataset, split_validation
from v2s_jax.datasets.synthetic.generate_dataset import generate_dataset
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.datasets.synthetic.spec import DatasetSpec
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.io import directory_lock
from v2s_jax.media import read_metadata
from v2s_jax.sonification import SampleOptions, sonify

QUICK = ("--training.steps", 8, "--training.batch-clips", 8)


@pytest.fixture(scope="module")
def finished(fixture_dataset, tmp_path_factory) -> tuple[list[object], Path, str]:
    """A run that was evaluated twice: its arguments, folder and output."""
    workdir = tmp_path_factory.mktemp("finished")
    args = ["tiny", "--data", fixture_dataset, "--workdir", workdir, *QUICK]
    args += ["--training.eval-every-steps", 4, "--training.log-audio-sec", 0.1]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setattr(sys, "argv", ["v2s", *map(str, args)])
        with pytest.raises(SystemExit) as exit_info:
            run_cli(train.main)
    assert exit_info.value.code == 0
    return args, workdir, out.getvalue()


@pytest.fixture(scope="module")
def two_categories(tmp_path_factory) -> Path:
    """Two clips in each of two categories."""
    folder = tmp_path_factory.mktemp("two")
    preset = Preset(
        "two", train_clips=2, test_clips=1, video_frames=4, categories=("drum", "water_flowing")
    )
    generate_dataset(folder, DatasetSpec(preset), workers=1)
    return folder


def test_run_trains_and_evaluates_on_a_validation_part(finished, fixture_dataset):
    """The validation part is not trained on; the best parameters are next to the last."""
    _, workdir, out = finished
    assert "1 clips from" in out and "1 clips for evaluation in split validation" in out
    assert "bits per held-out sample" in out and "params.safetensors" in out
    config, params = load_params(workdir)
    assert (config.name, config.training.steps, config.training.batch_clips) == ("tiny", 8, 8)
    assert config.training.eval_split == VALIDATION
    log = (workdir / "metrics.jsonl").read_text()
    assert log.count('"held_out/bits_per_sample"') == 2 and '"step": 8' in log
    load_params(workdir / "best.safetensors")
    (events,) = workdir.glob("events.out.tfevents.*")
    assert b"sound/drum-train-0000" in events.read_bytes()
    train_clips, _ = split_validation(open_dataset(fixture_dataset, "train"), config.training)
    statistics = feature_statistics(train_clips, seed=0, components=8).appearance
    conditioning = params["params"]["conditioning"]
    np.testing.assert_array_equal(conditioning["appearance_mean"], statistics.mean)
    np.testing.assert_array_equal(conditioning["appearance_components"], statistics.components)
    assert np.abs(conditioning["appearance_components"]).max() > 0


def test_finished_run_is_not_repeated_and_keeps_its_config(run_command, finished):
    args, workdir, _ = finished
    log = (workdir / "metrics.jsonl").read_text()
    code, out, _ = run_command(train.main, *args)
    assert code == 0 and "step 8: already finished" in out
    assert (workdir / "metrics.jsonl").read_text() == log
    code, out, err = run_command(train.main, *args, "--model.dim", 16)
    assert code == 2
    assert "model.dim: 16 != 32" in err and "Traceback" not in err
    assert "clips from" not in out  # nothing was computed


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--training.chunk-samples", 1000], "use 1024"),
        (["--training.batch-clips", 6], "cannot be split over 8 devices"),
        (["--training.steps", 7], "steps 7 is not a multiple of the 4 updates of one call: use 8"),
        (["--model.appearance-dim", 70], "appearance_dim"),
        (["--training.category", "drun"], "did you mean drum"),
        (["--device", "abacus"], "use cpu, gpu, tpu"),
        (["--training.eval-split", "tset"], "no split 'tset': choose from"),
        (["--training.grad-accum-steps", 3], "8 devices x 3 micro-batches: use a multiple of 24"),
        (["--run.processes", 2], "--run.process belong together"),
        (["--run.heartbeat-sec", 0], "use at least 1"),
        (["--run.distributed"], "cannot be joined"),
        (["--run.each-category", "--training.category", "drum"], "leave out --training.category"),
        (["--budget", "soon"], "give a time such as 30m, 2h or 1h30m"),
        (["--budget", "2h"], "--budget chooses the steps: leave out --training.steps"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_invalid_options(run_command, fixture_dataset, tmp_path, args, message):
    usual = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path / "run", *QUICK]
    code, _, err = run_command(train.main, *usual, *args)
    assert code == 2
    assert message in " ".join(re.sub(r"[│|]", " ", err).split()) and "Traceback" not in err


def test_two_runs_in_one_workdir(run_command, fixture_dataset, tmp_path):
    args = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path, *QUICK]
    with directory_lock(tmp_path):
        code, _, err = run_command(train.main, *args)
    assert code == 2 and not list(tmp_path.iterdir())
    assert "another process is writing there: wait for it or choose another --workdir" in err


def test_workdir_that_cannot_be_created(run_command, fixture_dataset, tmp_path):
    (tmp_path / "file").touch()
    args = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path / "file" / "run", *QUICK]
    code, _, err = run_command(train.main, *args)
    assert code == 2
    assert "choose another --workdir" in err and "Traceback" not in err


def test_corrupt_clips_stop_the_run_or_are_dropped(run_command, fixture_dataset, tmp_path):
    data = Path(shutil.copytree(fixture_dataset, tmp_path / "data"))
    index = open_dataset(data, "train").index
    shard = Path(index.shards[0])
    content = bytearray(shard.read_bytes())
    content[int(index.offset[1]) + 5_000] ^= 1
    shard.write_bytes(content)
    args = ["tiny", "--data", data, *QUICK]
    code, _, err = run_command(train.main, *args, "--workdir", tmp_path / "stop")
    assert code == 2 and f"{shard}: record 1" in err
    code, out, err = run_command(
        train.main, *args, "--workdir", tmp_path / "drop", "--run.corrupt", "drop"
    )
    assert "1 clips of split train are dropped" in out
    assert code == 2 and "1 training clips are too few to hold out a validation part" in err


@pytest.mark.slow
def test_one_command_trains_each_category(run_command, two_categories, tmp_path):
    workdir = tmp_path / "runs"
    args = ["tiny", "--data", two_categories, "--workdir", workdir, *QUICK, "--run.each-category"]
    code, out, err = run_command(train.main, *args)
    assert code == 0, err
    for category in ("drum", "water_flowing"):
        assert f"1 clips of {category} from" in out
        assert load_params(workdir / category)[0].training.category == category
    code, out, _ = run_command(train.main, *args)
    assert code == 0
    assert out.count("step 8: already finished") == 2


@pytest.mark.slow
def test_budget_plans_a_run_and_a_longer_one_prolongs_it(run_command, fixture_dataset, tmp_path):
    args = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path, "--training.batch-clips", 8]
    args += ["--training.decay-steps", 20, "--training.log-audio-sec", 0.1]
    code, _, err = run_command(train.main, *args, "--budget", "1s")
    assert code == 2 and "1 s is too short" in err
    assert not list(tmp_path.rglob("*.safetensors")) and not (tmp_path / "budget.json").exists()
    code, out, err = run_command(train.main, *args, "--budget", "40s")
    assert code == 0, err
    training = load_params(tmp_path)[0].training
    assert f"40s: {training.steps} steps, the last {training.decay_steps} with a falling" in out
    assert training.decay_steps == pytest.approx(training.steps / 2, abs=4)
    files = sorted((tmp_path / "audio").iterdir(), key=lambda path: path.suffix)
    assert {path.suffix for path in files} == {".wav", ".png"}
    assert read_metadata(files[-1]).get("comment") == "Generated sound, not a recording."
    code, out, _ = run_command(train.main, *args, "--budget", "40s")
    assert code == 0 and f"step {training.steps}: already finished" in out
    code, out, err = run_command(train.main, *args, "--budget", "60s")
    assert code == 0, err
    assert f"goes on from step {training.steps - training.decay_steps}, before" in out
    assert load_params(tmp_path)[0].training.steps > training.steps


@pytest.mark.slow
def test_profile_is_written(run_command, fixture_dataset, tmp_path):
    args = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path / "run", "--run.profile"]
    args += ["--training.eval-every-steps", 0, "--training.steps", 40, "--training.batch-clips", 8]
    code, _, err = run_command(train.main, *args)
    assert code == 0, err
    (trace,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 10_000


@pytest.mark.slow
def test_flow_trains_on_one_category_and_generates_audio(run_command, fixture_dataset, tmp_path):
    args = ["tiny", "--data", fixture_dataset, "--workdir", tmp_path / "run", *QUICK]
    args += ["--model.variant", "flow", "--training.category", "drum"]
    code, out, err = run_command(train.main, *args)
    assert code == 0, err
    assert "1 clips of drum from" in out
    assert '"gradient_norm/encoder"' in (tmp_path / "run" / "metrics.jsonl").read_text()
    options = SampleOptions(checkpoint=tmp_path / "run")
    report = sonify(EXAMPLE_VIDEO, tmp_path / "out", options)
    assert not report.failed
    assert len(report.generated) == 1
