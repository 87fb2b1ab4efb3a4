"""Several processes of one run over loopback: clips and losses equal those of one; exits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.child_processes import exit_codes
from tests.training_clips import Clips, read_log, read_losses, small, training_data
from v2s_jax.checkpoints import load_params
from v2s_jax.config import TINY, Config
from v2s_jax.run_folder import CHECKPOINTS
from v2s_jax.training.loop import train
from v2s_jax.training.parallel import connect

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 180
HEARTBEAT_SEC = 10
STEPS = 100


def make_config(steps: int, init_from: str | None = None) -> Config:
    return small(
        TINY,
        steps=steps,
        init_from=init_from,
        log_every_steps=2,
        checkpoint_every_steps=20,
        eval_every_steps=50,
        eval_clips=16,
    )


def child(
    workdir: str,
    steps: str,
    coordinator: str,
    processes: str,
    process: str,
    stop_before: str,
    init_from: str,
) -> None:
    """What the processes run; each records the clips that it has read."""
    connect(coordinator, int(processes), int(process), HEARTBEAT_SEC)
    config = make_config(int(steps), init_from or None)
    clips = Clips(config, stop_before=int(stop_before) or None)
    finished = train(config, training_data(clips), Path(workdir), validation=clips.validation)
    (Path(workdir) / f"read-{process}.json").write_text(json.dumps(clips.read))
    print("finished" if finished.params_file else f"stopped at {finished.step}", flush=True)


class Processes:
    """The processes of one run, each with its share of eight virtual devices."""

    def __init__(
        self,
        workdir: Path,
        processes: int,
        steps: int = STEPS,
        stop_before: int = 0,
        init_from: str = "",
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        code = (
            "import sys; from tests.training.test_multiprocess import child; child(*sys.argv[1:])"
        )
        flags = f"--xla_force_host_platform_device_count={8 // processes}"
        self.workdir = workdir
        self.processes = []
        for process in range(processes):
            arguments = [workdir, steps, coordinator, processes, process, stop_before, init_from]
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code, *map(str, arguments)],
                    cwd=ROOT,
                    env=os.environ | {"XLA_FLAGS": flags},
                    stdout=(workdir / f"output-{process}").open("w"),
                    stderr=subprocess.STDOUT,
                )
            )

    def wait(self) -> list[int]:
        """Wait for all; return their exit codes."""
        return exit_codes(self.processes, PATIENCE_SEC)

    def output(self, process: int) -> str:
        return (self.workdir / f"output-{process}").read_text()

    def wait_for_step(self, step: int) -> None:
        limit = time.monotonic() + PATIENCE_SEC
        while not newest(self.workdir) >= step:
            assert time.monotonic() < limit and self.processes[0].poll() is None, self.output(0)
            time.sleep(0.01)


def newest(workdir: Path) -> int:
    steps = [p.name for p in (workdir / CHECKPOINTS).glob("*") if p.name.isdigit()]
    return max(map(int, steps), default=0)


def assert_same_params(one: Path, other: Path) -> None:
    for a, b in zip(
        jax.tree.leaves(load_params(one)[1]), jax.tree.leaves(load_params(other)[1]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """Folder and clips of the run in one process, on one device and on eight."""
    runs = {}
    for devices in (1, 8):
        folder, clips = tmp_path_factory.mktemp("one"), Clips(make_config(STEPS))
        used = jax.devices()[:devices]
        train(make_config(STEPS), training_data(clips), folder, used, validation=clips.validation)
        runs[devices] = folder, clips.read
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_match_one(one_process, tmp_path, count):
    """1 x 1, 1 x 8, 2 x 4 and 4 x 2: the same clips at every step, losses within 1e-5 over 100
    updates, the same held-out bits."""
    run = Processes(tmp_path, count)
    assert run.wait() == [0] * count, [run.output(process) for process in range(count)]
    by_process = [
        json.loads((tmp_path / f"read-{process}.json").read_text()) for process in range(count)
    ]
    read = [list(chain(*rows)) for rows in zip(*by_process, strict=True)]
    for folder, read_by_one in one_process.values():
        assert read == read_by_one
        np.testing.assert_allclose(read_losses(tmp_path), read_losses(folder), rtol=1e-5)
        for a, b in zip(read_log(tmp_path), read_log(folder), strict=True):
            assert a.keys() == b.keys()
            for name in a:
                if name.startswith("held_out/"):
                    assert a[name] == pytest.approx(b[name], rel=1e-5)
    assert not run.output(count - 1).count("step/s")  # one progress bar


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    assert Processes(whole, 2).wait() == [0, 0]
    assert Processes(stopped, 2, stop_before=45).wait() != [0, 0]
    assert newest(stopped) == 80
    run = Processes(stopped, 2)
    assert run.wait() == [0, 0]
    assert "resuming from step 80" in run.output(0)
    assert_same_params(whole, stopped)


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_sigterm_to_one_process_stops_both_at_the_same_step(tmp_path, process):
    run = Processes(tmp_path, 2, steps=100_000)
    run.wait_for_step(20)
    run.processes[process].send_signal(signal.SIGTERM)
    assert run.wait() == [0, 0]
    ended = [run.output(number).split("stopped at ")[1].split()[0] for number in range(2)]
    assert ended[0] == ended[1] == str(newest(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_lost_process_ends_the_other(tmp_path, process):
    run = Processes(tmp_path, 2, steps=100_000)
    run.wait_for_step(20)
    run.processes[process].kill()
    start = time.monotonic()
    codes = run.wait()
    assert time.monotonic() - start < 2 * HEARTBEAT_SEC
    assert codes[process] == -signal.SIGKILL
    assert codes[1 - process] != 0
    assert "another task died" in run.output(1 - process)
    assert newest(tmp_path) >= 20
    load_params(tmp_path)


@pytest.mark.slow
def test_refusal_by_process_0_ends_all(tmp_path):
    config = small(make_config(2), seed=1)
    train(config, training_data(Clips(config)), tmp_path)
    run = Processes(tmp_path, 2)
    assert 0 not in run.wait()
    assert "training.seed: 0 != 1" in run.output(0)
    assert "process 0 could not start" in run.output(1)


@pytest.mark.slow
@pytest.mark.parametrize("init_from", ["first", "first/params.safetensors"])
def test_two_processes_warm_start_like_one(tmp_path, init_from):
    """Only process 0 reads the file; it broadcasts the parameters."""
    first, by_one, by_two = (tmp_path / name for name in ("first", "by_one", "by_two"))
    for folder in (first, by_one, by_two):
        folder.mkdir()
    train(make_config(20), training_data(Clips(make_config(20))), first)
    init_from = str(tmp_path / init_from)
    config = make_config(2, init_from)
    train(config, training_data(Clips(config)), by_one)
    run = Processes(by_two, 2, steps=2, init_from=init_from)
    assert run.wait() == [0, 0], run.output(0)
    assert f"11 of 11 layers from {init_from}" in run.output(0)
    assert "layers from" not in run.output(1)
    np.testing.assert_allclose(read_losses(by_two), read_losses(by_one), rtol=1e-5)


@pytest.mark.slow
def test_missing_init_from_ends_both_processes(tmp_path):
    run = Processes(tmp_path, 2, init_from=str(tmp_path / "none.safetensors"))
    assert 0 not in run.wait()
    assert "none.safetensors: no such checkpoint" in run.output(0)
    assert "process 0 could not start" in run.output(1)
