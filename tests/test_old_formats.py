"""Files of earlier format versions still open, resume and generate audio.

tests/fixtures holds the output of v2s_jax 0.1.0 before config format 2: a dataset, a run that was
interrupted at step 8 of 16, and its best parameters.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.conftest import FIXTURES
from v2s_jax.checkpoints import load_params
from v2s_jax.cli import train
from v2s_jax.datasets import open_dataset
from v2s_jax.evaluation import AudioLogger

PARAMS = FIXTURES / "params_v1.safetensors"
RUN = FIXTURES / "run_v1"
RUN_ARGS = (
    "tiny",
    *("--training.steps", 16, "--training.batch-clips", 8, "--training.ema-decay", 0.5),
    *("--training.log-every-steps", 4, "--training.checkpoint-every-steps", 4),
    *("--training.keep-checkpoints", 1, "--training.eval-every-steps", 8),
    *("--training.eval-clips", 2, "--training.log-audio-clips", 0),
    *("--training.precision", "highest", "--model.dim", 8, "--model.mlp-dim", 8),
    *("--model.embedding-dim", 4, "--model.visual-proj-dim", 4, "--model.principal-components", 2),
)


def test_params_and_dataset_open_and_generate_audio(fixture_dataset):
    config, params = load_params(PARAMS)
    training = config.training
    assert (training.eval_every_steps, training.eval_split, training.eval_clips) == (8, "test", 2)
    assert (training.log_audio_sec, training.steps_per_call, training.remat) == (1.0, 4, False)
    records = [*open_dataset(fixture_dataset, "train"), *open_dataset(fixture_dataset, "test")]
    assert len(records) == 4
    short = dataclasses.replace(training, log_audio_sec=0.064)
    (sample,) = AudioLogger(dataclasses.replace(config, training=short), records[:1])(params)
    assert sample.waveform.shape == (1024,)


@pytest.mark.slow
def test_run_resumes(fixture_dataset, tmp_path, run_command):
    """With its test split; with the new default the error names the difference."""
    workdir = shutil.copytree(RUN, tmp_path / "run")
    (old_step,) = (int(path.name) for path in (workdir / "checkpoints").iterdir())
    config, before = load_params(workdir)
    assert (old_step, config.training.ema_decay) == (8, 0.5)
    args = [*RUN_ARGS, "--data", fixture_dataset, "--workdir", workdir]
    code, _, err = run_command(train.main, *args)
    assert code == 2
    assert "training.eval_split: validation != test" in err
    code, out, err = run_command(train.main, *args, "--training.eval-split", "test")
    assert code == 0, err
    assert "resuming from step 8" in out
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == [4, 8, 12, 16]
    _, after = load_params(workdir)
    name = "projection"
    kernels = [params["params"]["conditioning"][name]["kernel"] for params in (before, after)]
    assert np.isfinite(kernels[1]).all() and (kernels[0] != kernels[1]).any()
