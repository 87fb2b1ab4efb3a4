"""`--budget 2h`: the number of steps of a run from the time that it may take.

A few calls of the compiled step are timed, then

    steps = (budget - time for evaluations) / seconds per step

The share of the steps over which the learning rate falls stays that of the preset. The plan of each
budget is kept in WORKDIR/budget.json, so a run that is stopped resumes with the same steps on any
machine.
"""

import json
import re
import statistics
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all

from v2s_jax.config import Config
from v2s_jax.config.training import MAX_STEPS
from v2s_jax.config.validation import check_range, from_fields
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors
from v2s_jax.json_text import parse_json
from v2s_jax.model import VideoToSound, initial_carry
from v2s_jax.training.loop import TrainingData, to_device
from v2s_jax.training.parallel import DataParallel, all_devices
from v2s_jax.training.state import init_state
from v2s_jax.training.step import steps_in_call

BUDGET_FILE = "budget.json"

UNIT_SEC = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)

TIMED_CALLS = 3
"""Calls whose median is the speed, after one that compiles."""
MIN_CALLS = 10
"""Fewest calls of a run: with fewer, compiling would take most of the time."""
EVALUATIONS = 10
"""Evaluations of a run, each with audio to listen to."""
MAX_EVALUATION_SHARE = 0.1
"""Of the budget, for all evaluations."""
FORWARD_SHARE = 1 / 3
"""Time of a forward pass over that of a training step on the same samples: the backward pass has
two matrix products for each of the forward pass."""


@dataclass(frozen=True)
class Plan:
    """The fields of `TrainingConfig` that follow from a budget."""

    budget_sec: float
    steps: int
    decay_steps: int
    eval_every_steps: int

    def __post_init__(self) -> None:
        check_range(self, 1, MAX_STEPS, "steps")
        check_range(self, 0, MAX_STEPS, "decay_steps", "eval_every_steps")

    @property
    def intervals(self) -> tuple[int, int, int]:
        """All but the budget."""
        return self.steps, self.decay_steps, self.eval_every_steps

    def apply(self, config: Config) -> Config:
        """Return the config with these fields."""
        training = replace(
            config.training,
            steps=self.steps,
            decay_steps=self.decay_steps,
            eval_every_steps=self.eval_every_steps,
        )
        return replace(config, training=training)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 90m, 2h or 1h30m; raise InputError for others."""
    parts = DURATION.findall(text)
    seconds = sum(float(number) * UNIT_SEC[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds > 0:
        raise InputError(f"--budget {text!r}: give a time such as 30m, 2h or 1h30m")
    return seconds


def read_plans(workdir: Path) -> list[Plan]:
    """Return the plans of earlier starts; raise InputError for a corrupt file."""
    path = workdir / BUDGET_FILE
    if not path.exists():
        return []
    with wrap_read_errors(path):
        try:
            plans = parse_json(path.read_bytes())
            if not isinstance(plans, list):
                raise ValueError("no list")
            known = [from_fields(Plan, fields, "plan") for fields in plans]
        except (ValueError, InputError) as error:
            raise InputError(f"{path}: corrupt: remove it to measure the speed again") from error
    return known


def find_plan(workdir: Path, budget_sec: float) -> Plan | None:
    """Return the plan of an earlier start with the same budget; None if there is none."""
    plans = read_plans(workdir)
    return next((plan for plan in plans if plan.budget_sec == budget_sec), None)


def write_plan(workdir: Path, plan: Plan) -> None:
    """Keep a plan for runs that resume, beside those of other budgets."""
    others = [each for each in read_plans(workdir) if each.budget_sec != plan.budget_sec]
    workdir.mkdir(parents=True, exist_ok=True)
    with atomic_write(workdir / BUDGET_FILE) as temporary:
        text = json.dumps([vars(each) for each in (*others, plan)])
        temporary.write_text(text + "\n", encoding="utf-8")


def within_budget(
    text: str,
    config: Config,
    data: TrainingData,
    workdir: Path,
    held_out_clips: int,
    begin_sec: float,
) -> Config:
    """Return the config of a run that takes a given time, evaluations included.

    Args:
        text: The budget, such as 2h.
        config: Config of the run; its steps and evaluation interval are replaced.
        data: The training data, of which one batch is read.
        workdir: Where the plan of an earlier start is, and where a new one is kept.
        held_out_clips: Clips of an evaluation; 0: no evaluation.
        begin_sec: `time.monotonic` when the run began.

    Raises InputError for a budget that is no time or too short, and for a corrupt plan.
    """
    budget_sec = parse_duration(text)
    is_main = jax.process_index() == 0
    plan = find_plan(workdir, budget_sec) if is_main else None
    if broadcast_one_to_all(np.int32(plan is None)):
        print(f"measuring the speed, to plan {text}", flush=True)
        step_sec = measure_step_sec(config, data)
        left_sec = budget_sec - (time.monotonic() - begin_sec)
        plan = make_plan(config, data.clip_samples, held_out_clips, budget_sec, left_sec, step_sec)
    fields = plan or Plan(budget_sec, 1, 0, 0)
    steps = broadcast_one_to_all(np.array(fields.intervals, np.int32)).tolist()
    plan = Plan(budget_sec, *steps)
    if is_main:
        write_plan(workdir, plan)
    config = plan.apply(config)
    training = config.training
    print(
        f"{text}: {training.steps} steps, the last {training.decay_steps} with a falling learning "
        f"rate, an evaluation every {training.eval_every_steps}",
        flush=True,
    )
    return config


def measure_step_sec(config: Config, data: TrainingData) -> float:
    """Return the seconds of one training step on all devices, without compiling."""
    model = VideoToSound(config, config.training.precision)
    num_steps = steps_in_call(config, data.clip_samples)
    parallel = DataParallel(model, num_steps, all_devices())
    start = init_state(model, data.statistics)
    host_carry = initial_carry(model, start.params, config.training.batch_clips)
    carry = parallel.shard(parallel.local_rows(jax.tree.map(np.array, host_carry)))
    state = parallel.replicate(start)
    with closing(data.open(0, parallel.row_range)) as batches:
        device_batch = to_device(parallel, next(batches))
    seconds = []
    for _ in range(1 + TIMED_CALLS):
        begin = time.perf_counter()
        state, carry, metrics = parallel(state, carry, device_batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - begin)
    step_sec = statistics.median(seconds[1:]) / num_steps
    return float(broadcast_one_to_all(np.float32(step_sec)))


def make_plan(
    config: Config,
    clip_samples: int,
    held_out_clips: int,
    budget_sec: float,
    left_sec: float,
    step_sec: float,
) -> Plan:
    """Return the plan of a run.

    Args:
        config: Its config; the share of `steps` that are `decay_steps` is kept.
        clip_samples: Length of the clips.
        held_out_clips: Clips of an evaluation; 0: no evaluation.
        budget_sec: Time for the whole run.
        left_sec: What is left of it for steps and evaluations.
        step_sec: Time of a step.

    Raises InputError when the budget is too short for a run.
    """
    training, call = config.training, steps_in_call(config, clip_samples)
    batches = held_out_clips * clip_samples / (training.batch_clips * training.chunk_samples)
    evaluation_sec = batches * step_sec * FORWARD_SHARE
    evaluations = 0
    if held_out_clips:
        most = int(MAX_EVALUATION_SHARE * left_sec / evaluation_sec)
        evaluations = min(EVALUATIONS, max(1, most))
    calls = int((left_sec - evaluations * evaluation_sec) / (step_sec * call))
    if calls < MIN_CALLS:
        needed_sec = budget_sec - left_sec + evaluation_sec + MIN_CALLS * call * step_sec
        raise InputError(
            f"--budget: {budget_sec:.0f} s is too short at {step_sec:.3g} s per step, after "
            f"{budget_sec - left_sec:.0f} s to start: give at least {needed_sec / 60 + 1:.0f}m"
        )
    decay_share = min(1.0, training.decay_steps / training.steps)
    return Plan(
        budget_sec,
        steps=calls * call,
        decay_steps=round(decay_share * calls) * call,
        eval_every_steps=max(1, calls // evaluations) * call if evaluations else 0,
    )
