"""A run that is killed repeatedly ends like one that never was; SIGTERM saves and exits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training_clips import Clips, small, training_data
from v2s_jax.checkpoints import load_params
from v2s_jax.config import TINY, Config
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training.loop import train
from v2s_jax.training.metrics import METRICS_FILE

CHECKPOINT_EVERY = 20
UPDATES_PER_CALL = 2
SAVING = "*.orbax-checkpoint-tmp*"
PATIENCE_SEC = 120
WHOLE_RUN_SEC = 900


def make_config(steps: int) -> Config:
    return small(
        TINY,
        steps=steps,
        chunk_samples=1024,
        steps_per_call=UPDATES_PER_CALL,
        log_every_steps=UPDATES_PER_CALL,
        checkpoint_every_steps=CHECKPOINT_EVERY,
        precision="default",
    )


def child(workdir: str, steps: str, devices: str) -> None:
    """What the killed processes run."""
    jax.config.update("jax_compilation_cache_dir", str(Path(workdir) / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    config = make_config(int(steps))
    used = jax.devices()[: int(devices)]
    finished = train(config, training_data(Clips(config)), Path(workdir), used)
    print("finished" if finished.params_file else f"stopped at {finished.step}", flush=True)


class Training:
    """A training process."""

    def __init__(self, workdir: Path, steps: int, devices: int) -> None:
        self.workdir = workdir
        code = "import sys; from tests.training.test_kills import child; child(*sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(workdir), str(steps), str(devices)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, happens) -> bool:
        """Wait until something happens; False if the process ended first."""
        limit = time.monotonic() + PATIENCE_SEC
        while not happens():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < limit
            time.sleep(0.0005)
        return True

    def end(self, number: int) -> str:
        """Send a signal; return the output of the process."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE_SEC)
        return output


def newest_step(workdir: Path) -> int:
    """The newest complete checkpoint."""
    folder = workdir / CHECKPOINTS
    return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)


def logged_step(workdir: Path) -> int:
    """The last step that was logged."""
    lines = (workdir / METRICS_FILE).read_text().splitlines()
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def killed_until_done(workdir: Path, steps: int, devices: int, kills: int) -> dict[str, int]:
    """Kill a run at random instants, every third time inside a save, then let it finish."""
    random = np.random.default_rng(devices)
    counts = {"kills": 0, "inside a save": 0, "repeated steps": 0}
    while counts["kills"] < kills:
        known = newest_step(workdir)
        training = Training(workdir, steps, devices)
        going = training.wait_for(lambda known=known: newest_step(workdir) > known)
        if going and counts["kills"] % 3 == 0:
            going = training.wait_for(lambda: any((workdir / CHECKPOINTS).glob(SAVING)))
        elif going:
            time.sleep(random.uniform(0, 0.3))
        output = training.end(signal.SIGKILL)
        assert training.process.returncode == -signal.SIGKILL, f"too few steps: {output}"
        counts["kills"] += 1
        counts["inside a save"] += any((workdir / CHECKPOINTS).glob(SAVING))
        if known:
            resumed = int(output.split("resuming from step ")[1].split()[0])
            assert resumed >= known > 0
        repeated = logged_step(workdir) - newest_step(workdir)
        assert 0 <= repeated <= 2 * CHECKPOINT_EVERY
        counts["repeated steps"] += repeated
    training = Training(workdir, steps, devices)
    output, _ = training.process.communicate(timeout=WHOLE_RUN_SEC)
    assert output.endswith("finished\n"), output
    return counts


def check_kills(tmp_path: Path, steps: int, devices: int, kills: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    output, _ = Training(whole, steps, devices).process.communicate(timeout=WHOLE_RUN_SEC)
    assert output.endswith("finished\n"), output
    counts = killed_until_done(killed, steps, devices, kills)
    print(f"{devices} devices: {counts}")
    assert 5 * counts["inside a save"] >= kills
    for a, b in zip(
        jax.tree.leaves(load_params(whole)[1]),
        jax.tree.leaves(load_params(killed)[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    steps_logged = [
        json.loads(line)["step"] for line in (killed / METRICS_FILE).read_text().splitlines()
    ]
    assert steps_logged == sorted(set(steps_logged))
    assert steps_logged[-1] == steps


@pytest.mark.soak
def test_five_kills_change_nothing(tmp_path):
    check_kills(tmp_path, steps=800, devices=1, kills=5)


@pytest.mark.soak
@pytest.mark.parametrize("devices", [1, 8])
def test_fifty_kills_change_nothing(tmp_path, devices):
    check_kills(tmp_path, steps=4_000, devices=devices, kills=50)


@pytest.mark.slow
def test_sigterm_saves_and_exits(tmp_path):
    """After the current compiled call, with a checkpoint of its last step."""
    training = Training(tmp_path, 20_000, 1)
    assert training.wait_for(lambda: newest_step(tmp_path) > 0)
    output = training.end(signal.SIGTERM)
    assert training.process.returncode == 0
    stopped = int(output.split("stopped at ")[1])
    assert newest_step(tmp_path) == stopped == logged_step(tmp_path)
    assert stopped < 20_000
