"""train.py: words to config, the data that it opens, and what it refuses."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from v2s_jax.checkpoints import load_params
from v2s_jax.cli import train
from v2s_jax.cli.run import run_cli
from v2s_jax.datasets import feature_statistics, open_dataset
from v2s_jax.datasets.synthetic.command import make_synthetic
from v2s_jax.datasets.synthetic.presets import Preset
from v2s_jax.sonification import sonify

MINI = Preset("mini", train_clips=4, test_clips=1, video_frames=4, categories=("drum",))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    make_synthetic(out, MINI, seed=0, workers=1, overwrite=False)
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Two clips of each of two categories."""
    out = tmp_path_factory.mktemp("two")
    preset = Preset(
        "two", train_clips=2, test_clips=1, video_frames=4, categories=("drum", "water_flowing")
    )
    make_synthetic(out, preset, seed=0, workers=1, overwrite=False)
    return out


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return exit code, stdout and stderr."""

    def command(*words: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_cli(train.main)
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return command


QUICK = ["--training.steps", 8, "--training.batch-clips", 8]


def test_a_run_trains_and_is_not_begun_again(run, made, tmp_path):
    words = ["tiny", "--data", made, "--workdir", tmp_path / "run", *QUICK]
    code, told, _ = run(*words)
    assert code == 0
    assert "4 clips from" in told and "params.safetensors" in told
    config, params = load_params(tmp_path / "run")
    assert (config.name, config.training.steps, config.training.batch_clips) == ("tiny", 8, 8)
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"bits_per_sample"' in metrics and '"step": 8' in metrics
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    assert run(*words)[0] == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == metrics
    data = open_dataset(made, "train")
    statistics = feature_statistics(data, seed=0, components=8).appearance
    kept = params["params"]["conditioning"]
    np.testing.assert_array_equal(kept["appearance_mean"], statistics.mean)
    np.testing.assert_array_equal(kept["appearance_components"], statistics.components)
    assert np.abs(kept["appearance_components"]).max() > 0


def test_a_run_is_scored_and_heard(run, made, tmp_path):
    """On the split that it was told; the best parameters lie beside the last."""
    words = ["tiny", "--data", made, "--workdir", tmp_path / "run", *QUICK]
    words += ["--training.eval-every-steps", 4, "--training.eval-clips", 1]
    words += ["--training.log-audio-sec", 0.1]
    code, told, err = run(*words)
    assert code == 0, err
    assert "step 8: " in told and "bits per held-out sample" in told
    logged = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert logged.count('"held_out/bits_per_sample"') == 2
    load_params(tmp_path / "run" / "best.safetensors")
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    assert b"sound/drum-test-00000" in events.read_bytes()
    other = ["tiny", "--data", made, "--workdir", tmp_path / "other", *QUICK]
    code, _, err = run(*other, "--training.eval-split", "tset")
    assert code == 2
    assert "no split 'tset': choose from" in err


def test_each_category_is_trained_by_one_command(run, two, tmp_path):
    words = ["tiny", "--data", two, "--workdir", tmp_path / "runs", *QUICK, "--run.each-category"]
    code, told, err = run(*words)
    assert code == 0, err
    for category in ("drum", "water_flowing"):
        assert f"2 clips of {category} from" in told
        assert load_params(tmp_path / "runs" / category)[0].training.category == category
    code, told, _ = run(*words)
    assert code == 0
    assert told.count("step 8: finished before") == 2


def test_a_run_on_other_data_is_refused(run, made, two, tmp_path):
    for data, expected in ((made, 0), (two, 2)):
        words = ["tiny", "--data", data, "--workdir", tmp_path / "run", *QUICK]
        code, _, err = run(*words, "--training.category", "drum")
        assert code == expected, err
    assert "was trained on other data" in err and "4 clips" in err and "2 clips" in err


def test_a_profile_is_written(run, made, tmp_path):
    words = ["tiny", "--data", made, "--workdir", tmp_path / "run", "--run.profile"]
    code, _, err = run(*words, "--training.steps", 40, "--training.batch-clips", 8)
    assert code == 0, err
    (trace,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 10_000


def test_flow_is_trained_on_one_category_and_sounds(run, made, tmp_path):
    words = ["tiny", "--data", made, "--workdir", tmp_path / "run", *QUICK]
    words += ["--model.variant", "flow", "--training.category", "drum"]
    code, told, err = run(*words)
    assert code == 0, err
    assert "4 clips of drum from" in told
    assert '"gradient_norm/encoder"' in (tmp_path / "run" / "metrics.jsonl").read_text()
    video = next(made.glob("clips/drum/*test*.mp4"))
    report = sonify(video, tmp_path / "out", checkpoint=tmp_path / "run")
    assert not report.failed
    assert len(report.generated) == 1


def test_another_config_is_refused_with_the_difference(run, made, tmp_path):
    words = ["tiny", "--data", made, "--workdir", tmp_path / "run", *QUICK]
    run(*words)
    code, _, err = run(*words, "--model.dim", 16)
    assert code == 2
    assert "model.dim: 16 != 32" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--training.chunk-samples", 1000], "use 1024"),
        (["--training.batch-clips", 6], "cannot be split over 8 devices"),
        (["--training.steps", 7], "steps 7 is not a multiple of the 4 updates of one call: use 8"),
        (["--model.appearance-dim", 70], "appearance_dim"),
        (["--training.category", "drun"], "did you mean drum"),
        (["--model.variant", "seqq"], "seq"),
        (["--device", "abacus"], "use cpu, gpu, tpu"),
        (["--training.ema-decay", 1], "ema_decay is 1.0: use 0 (none) or more, below 1"),
        (["--training.grad-accum-steps", 3], "8 devices x 3 micro-batches: use a multiple of 24"),
        (["--run.processes", 2], "--run.process belong together"),
        (["--run.heartbeat-sec", 0], "use at least 1"),
        (["--run.distributed"], "cannot be joined"),
        (["--run.each-category", "--training.category", "drum"], "leave --training.category out"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(run, made, tmp_path, words, message):
    usual = ["tiny", "--data", made, "--workdir", tmp_path / "run"]
    code, _, err = run(*usual, "--training.batch-clips", 8, *words)
    assert code == 2
    assert message in err and "Traceback" not in err


def test_a_workdir_that_cannot_be(run, made, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run("tiny", "--data", made, "--workdir", tmp_path / "file" / "run", *QUICK)
    assert code == 2
    assert "choose another --workdir" in err and "Traceback" not in err


def test_an_unknown_preset(run, made, tmp_path):
    code, _, err = run("tinny", "--data", made, "--workdir", tmp_path / "run")
    assert code == 2
    assert "tiny" in err


def test_damaged_clips_stop_the_run_or_are_left_out(run, made, tmp_path):
    data = Path(shutil.copytree(made, tmp_path / "made"))
    index = open_dataset(data, "train").index
    shard = Path(index.shards[0])
    content = bytearray(shard.read_bytes())
    content[int(index.offset[2]) + 5_000] ^= 1
    shard.write_bytes(content)
    words = ["tiny", "--data", data, *QUICK]
    code, _, told = run(*words, "--workdir", tmp_path / "stop")
    assert code == 2
    assert f"{shard}: record 2 is damaged" in told and "2 of the shard's 4 records" in told
    code, told, _ = run(*words, "--workdir", tmp_path / "drop", "--run.corrupt", "drop")
    assert code == 0
    assert "2 clips of split train are left out" in told and "2 clips from" in told
