"""`--budget`: steps from a time, kept for runs that resume, and prolonged runs."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.training_clips import SAMPLES, Clips, read_log, small, training_data
from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE, load_params
from v2s_jax.errors import InputError
from v2s_jax.training.budget import (
    BUDGET_FILE,
    EVALUATIONS,
    MAX_EVALUATION_SHARE,
    MIN_CALLS,
    Plan,
    find_plan,
    make_plan,
    measure_step_sec,
    parse_duration,
    write_plan,
)
from v2s_jax.training.checkpoint import SHORTER_RUN_FOLDER
from v2s_jax.training.loop import train


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1_800), ("1.5h", 5_400), ("1h30m", 5_400), ("1d", 86_400)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "2 h", "h", "-1h", "0m", "2x", "1h30", "1e3s", "٣h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InputError, match=r"--budget .*30m, 2h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("held_out", [0, 4, 10_000])
def test_plan_fills_the_time(tiny, held_out):
    """Steps and evaluations take what is left of the budget, to one call."""
    config = small(tiny, steps=40, decay_steps=10)
    step_sec, left_sec = 0.1, 1_000.0
    plan = make_plan(config, SAMPLES, held_out, 1_010.0, left_sec, step_sec)
    batch = config.training.batch_clips * config.training.chunk_samples
    evaluation_sec = held_out * SAMPLES / batch * step_sec / 3
    evaluations = plan.steps // plan.eval_every_steps if held_out else 0
    used_sec = plan.steps * step_sec + evaluations * evaluation_sec
    assert left_sec - 2 * step_sec - evaluation_sec < used_sec <= left_sec + evaluation_sec
    assert plan.decay_steps == pytest.approx(plan.steps / 4, abs=1)
    assert plan.steps % 2 == plan.decay_steps % 2 == plan.eval_every_steps % 2 == 0
    assert evaluations <= EVALUATIONS + 1
    assert evaluations <= 1 or evaluations * evaluation_sec <= MAX_EVALUATION_SHARE * left_sec * 1.2
    assert plan.apply(config).training.steps == plan.steps


def test_short_budget_names_one_that_is_enough(tiny):
    config = small(tiny)
    with pytest.raises(InputError, match=r"60 s is too short at 10 s per step, after 20 s") as why:
        make_plan(config, SAMPLES, 0, 60.0, 40.0, 10.0)
    enough = parse_duration(str(why.value).split()[-1])
    assert make_plan(config, SAMPLES, 0, enough, enough - 20, 10.0).steps >= 2 * MIN_CALLS


def test_plans_are_kept_by_budget(tmp_path):
    plan, other = Plan(60.0, 400, 200, 40), Plan(120.0, 800, 400, 80)
    write_plan(tmp_path / "run", plan)
    write_plan(tmp_path / "run", other)
    assert find_plan(tmp_path / "run", 60.0) == plan
    assert find_plan(tmp_path / "run", 120.0) == other
    assert find_plan(tmp_path / "run", 90.0) is None
    assert find_plan(tmp_path / "other", 60.0) is None
    write_plan(tmp_path / "run", Plan(60.0, 500, 200, 40))
    assert find_plan(tmp_path / "run", 60.0).steps == 500


@pytest.mark.parametrize(
    "change",
    [{"steps": "many"}, {"steps": None}, {"steps": 1.5}, {"steps": 0}, {"steps": True}, None],
)
def test_corrupt_plan_is_refused(tmp_path, change):
    write_plan(tmp_path, Plan(60.0, 400, 200, 40))
    path = tmp_path / BUDGET_FILE
    (fields,) = json.loads(path.read_text())
    path.write_text(json.dumps([fields | change]) if change else '{"steps": 1}')
    with pytest.raises(InputError, match=r"budget.json: corrupt: remove it"):
        find_plan(tmp_path, 60.0)


def test_speed_is_that_of_the_training_step(tiny):
    """It compiles and runs the step; a second is far more than a tiny step takes."""
    assert 0 < measure_step_sec(small(tiny), training_data(Clips(small(tiny)))) < 1


@pytest.mark.slow
def test_run_is_prolonged_from_before_its_decay(tiny, tmp_path, capsys):
    """Bit for bit the run that was planned longer; what the short one had learned is kept."""
    short = small(tiny, steps=8, decay_steps=4, checkpoint_every_steps=2, keep_checkpoints=1)
    short = dataclasses.replace(
        short, training=dataclasses.replace(short.training, eval_every_steps=4)
    )
    long = dataclasses.replace(
        short, training=dataclasses.replace(short.training, steps=16, decay_steps=8)
    )
    planned, prolonged = tmp_path / "planned", tmp_path / "prolonged"
    devices = jax.devices()[:1]
    clips = Clips(long)
    train(long, training_data(clips), planned, devices, validation=clips.validation)
    train(short, training_data(clips), prolonged, devices, validation=clips.validation)
    _, of_short_run = load_params(prolonged / PARAMS_FILE)
    result = train(long, training_data(clips), prolonged, devices, validation=clips.validation)
    assert "goes on from step 4, before its learning rate fell" in capsys.readouterr().out
    assert result.step == 16
    (config, params), (_, expected) = load_params(prolonged), load_params(planned)
    assert config == long
    for got, want in zip(*map(jax.tree.leaves, (params, expected)), strict=True):
        np.testing.assert_array_equal(got, want)
    aside = prolonged / SHORTER_RUN_FOLDER
    assert {path.name for path in aside.iterdir()} == {
        "8.0",
        f"{PARAMS_FILE}.0",
        f"{BEST_PARAMS_FILE}.0",
    }
    (aside / f"{PARAMS_FILE}.0").rename(aside / "short.safetensors")
    for got, want in zip(
        *map(jax.tree.leaves, (load_params(aside / "short.safetensors")[1], of_short_run)),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)
    assert [line["step"] for line in read_log(prolonged)] == [4, 8, 12, 16]
    assert (prolonged / BEST_PARAMS_FILE).exists()
