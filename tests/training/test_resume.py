"""Resuming with another config: what is accepted, exactly, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.training_clips import Clips, read_log, small, training_data
from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.training.loop import train
from v2s_jax.training.resume import check_resumable


def with_training(config: Config, **changes) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))


@pytest.mark.slow
def test_longer_run_equals_one_that_was_planned_so(tiny, tmp_path, capsys):
    """Bit for bit, with a warmup, and a decay that had not begun."""
    short = small(tiny, steps=8, checkpoint_every_steps=4, warmup_steps=3, decay_steps=0)
    long = with_training(short, steps=12, checkpoint_every_steps=6, log_every_steps=6)
    planned, extended = tmp_path / "planned", tmp_path / "extended"
    devices = jax.devices()[:1]
    train(long, training_data(Clips(long)), planned, devices)
    train(short, training_data(Clips(short)), extended, devices)
    result = train(long, training_data(Clips(long)), extended, devices)
    out = capsys.readouterr().out
    assert "training.steps is 12, was 8: the run ends as one that had" in out
    assert "training.log_every_steps is 6, was 4: changes only the log" in out
    assert result.step == 12
    (config, params), (_, expected) = load_params(extended), load_params(planned)
    assert config == long
    for got, want in zip(*map(jax.tree.leaves, (params, expected)), strict=True):
        np.testing.assert_array_equal(got, want)
    assert [line["step"] for line in read_log(extended)] == [4, 8, 12]


@pytest.mark.parametrize(
    ("stored", "given", "step", "message"),
    [
        ({"steps": 8}, {"steps": 16}, 8, None),
        ({"steps": 8, "warmup_steps": 4}, {"steps": 16}, 8, None),
        ({"steps": 8, "decay_steps": 4}, {"steps": 16}, 4, None),
        ({"steps": 8, "decay_steps": 4}, {"steps": 16}, 5, None),  # the decay begins at the peak
        ({"steps": 8, "decay_steps": 4}, {"steps": 16}, 6, "falls over the last 4 steps"),
        ({"steps": 8, "decay_steps": 4}, {"steps": 16}, 8, "keep 8, or start from its parameters"),
        ({"steps": 8, "decay_steps": 4}, {"log_every_steps": 3}, 8, None),
        # Its warmup was cut to 8 steps.
        ({"steps": 8, "warmup_steps": 100}, {"steps": 16}, 8, "rises over 100"),
        ({"steps": 8}, {"steps": 4}, 8, "at step 8, not 4: use --training.steps 8 or more, or"),
        ({"steps": 16}, {"steps": 8}, 8, None),
        ({}, {"learning_rate": 0.5}, 4, "training.learning_rate: 0.5 != 0.001.*may change"),
        ({"eval_every_steps": 4}, {"eval_every_steps": 8, "log_audio_clips": 0}, 4, None),
        ({"eval_every_steps": 4}, {"eval_every_steps": 0}, 4, "a part of the training set is held"),
        ({"eval_every_steps": 4, "eval_split": "test"}, {"eval_every_steps": 0}, 4, None),
        ({"eval_clips": 4}, {"eval_clips": 8}, 4, "training.eval_clips: 8 != 4"),
    ],
)
def test_only_changes_that_keep_the_updates_are_accepted(tiny, stored, given, step, message):
    run = with_training(tiny, **{"steps": 40, **stored})
    changed = with_training(run, **given)
    if message is None:
        lines = check_resumable("run", run, changed, step)
        assert [line.split()[0] for line in lines] == [
            f"training.{name}" for name in given if getattr(run.training, name) != given[name]
        ]
    else:
        with pytest.raises(InputError, match=message):
            check_resumable("run", run, changed, step)
