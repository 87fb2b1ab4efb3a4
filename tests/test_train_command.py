"""train.py: words to config, the data that it opens, and what it refuses."""

import sys
from pathlib import Path

import numpy as np
import pytest

from data.prepare import make_synthetic
from data.synthetic.presets import Preset
from v2s_jax.commands import train
from v2s_jax.commands.door import run_door
from v2s_jax.records import feature_statistics, open_data_set
from v2s_jax.sonification import sonify
from v2s_jax.training.checkpoint import load_params

MINI = Preset("mini", train_clips=4, test_clips=1, video_frames=4, categories=("drum",))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    make_synthetic(out, MINI, seed=0, workers=1, overwrite=False)
    return out


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return exit code, stdout and stderr."""

    def command(*words: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_door(train.main)
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
    statistics = feature_statistics(open_data_set(made, "train"), seed=0).appearance
    kept = params["params"]["conditioning"]
    np.testing.assert_array_equal(kept["appearance_mean"], statistics.mean)
    assert kept["appearance_scale"] == np.float32(statistics.scale)


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
    assert len(report.sounded) == 1


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
        (["--model.appearance-dim", 7], "appearance_dim"),
        (["--training.category", "drun"], "did you mean drum"),
        (["--model.variant", "seqq"], "seq"),
        (["--device", "abacus"], "use cpu, gpu, tpu"),
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
