"""Runs in a bucket, killed and resumed by new processes, end like one on a local disk."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.bucket_servers import BUCKET, open_store
from tests.child_processes import exit_codes
from tests.training_clips import Clips, read_log, small, training_data
from v2s_jax.bucket import Bucket
from v2s_jax.checkpoints import load_params
from v2s_jax.config import TINY, Config
from v2s_jax.run_folder import COMMIT_FILE, finished_checkpoints
from v2s_jax.training.bucket_lock import LOCK_FILE
from v2s_jax.training.bucket_workdir import open_workdir
from v2s_jax.training.loop import train
from v2s_jax.training.metrics import METRICS_FILE
from v2s_jax.training.parallel import connect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 300
HEARTBEAT_SEC = 10
STEPS = 100
DEVICES = 2
CHECKPOINT_EVERY = 20


def make_config() -> Config:
    return small(
        TINY,
        steps=STEPS,
        log_every_steps=4,
        checkpoint_every_steps=CHECKPOINT_EVERY,
        precision="default",
    )


def child(location: str, coordinator: str, processes: str, process: str) -> None:
    """What the processes run."""
    if coordinator:
        connect(coordinator, int(processes), int(process), HEARTBEAT_SEC)
    config = make_config()
    with open_workdir(Path(location), is_main=jax.process_index() == 0) as folder:
        finished = train(config, training_data(Clips(config)), folder)
    print("finished" if finished.params_file else f"stopped at {finished.step}", flush=True)


class Run:
    """The processes of a run, with two devices among them."""

    def __init__(self, location: str, outputs: Path, processes: int = 1) -> None:
        coordinator = ""
        if processes > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        code = "import sys; from tests.training.test_bucket_runs import child; child(*sys.argv[1:])"
        flags = f"--xla_force_host_platform_device_count={DEVICES // processes}"
        flags += " --xla_backend_optimization_level=0"
        outputs.mkdir(exist_ok=True)
        self.outputs = outputs
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-c", code, location),
                    *(coordinator, str(processes), str(process)),
                ],
                cwd=ROOT,
                env=os.environ | {"XLA_FLAGS": flags},
                stdout=(outputs / str(process)).open("w"),
                stderr=subprocess.STDOUT,
            )
            for process in range(processes)
        ]

    def output(self, process: int = 0) -> str:
        return (self.outputs / str(process)).read_text()

    def wait(self) -> list[int]:
        return exit_codes(self.processes, PATIENCE_SEC)

    def wait_for(self, happens) -> None:
        limit = time.monotonic() + PATIENCE_SEC
        while not happens():
            assert self.processes[0].poll() is None and time.monotonic() < limit, self.output()
            time.sleep(0.01)


def newest(bucket: Bucket) -> int:
    """The newest finished checkpoint in the bucket."""
    return max(
        (int(path.split("/")[1]) for path in finished_checkpoints(bucket.names())), default=0
    )


def assert_same_params(one: Path, other: Path) -> None:
    (config, ours), (_, theirs) = load_params(one), load_params(other)
    assert config.training.steps == STEPS
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module", autouse=True)
def shared_programs(tmp_path_factory):
    """Let the processes share what they compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "1")
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module", params=["s3", "gs"])
def store(request):
    with open_store(request.param) as proxy:
        proxy.url = f"{request.param}://{BUCKET}/runs"
        yield proxy


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run in one go on a local disk, in one process with the same devices."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(str(folder / "run"), folder / "outputs")
    assert run.wait() == [0], run.output()
    return folder / "run"


def test_killed_run_resumes_bit_for_bit_on_another_machine(store, whole, tmp_path):
    """Killed in an upload and between two; slow and failing answers in the last part."""
    location = f"{store.url}/killed"
    bucket = Bucket(location)
    first = Run(location, tmp_path / "first")
    first.wait_for(lambda: newest(bucket) >= 2 * CHECKPOINT_EVERY)
    first.processes[0].kill()
    first.wait()
    saved = newest(bucket)
    assert bucket.read(LOCK_FILE)  # nobody has released it

    store.fail(1.0, r"(PUT|POST) .*checkpoints/\d+/(?!.*commit)")  # uploads take their time
    second = Run(location, tmp_path / "second")
    resuming = f"resuming from step {saved}"  # an upload that the first one left counts, too
    second.wait_for(lambda: resuming in second.output() and unfinished(bucket) > saved)
    second.processes[0].kill()
    second.wait()
    half = unfinished(bucket)
    assert newest(bucket) < half

    store.fail(503, "(PUT|POST|GET|DELETE|HEAD) ", times=4)
    third = Run(location, tmp_path / "third")
    assert third.wait() == [0], third.output()
    assert "resuming from step" in third.output() and "finished" in third.output()
    store.heal()
    assert_same_params(whole, Path(location))
    assert bucket.read("params.safetensors") == (whole / "params.safetensors").read_bytes()
    (tmp_path / METRICS_FILE).write_bytes(bucket.read(METRICS_FILE))
    logged = [line["step"] for line in read_log(tmp_path)]
    assert logged == [line["step"] for line in read_log(whole)]
    assert sum(name.startswith("events.out.tfevents") for name in bucket.names()) >= 2
    assert bucket.read(LOCK_FILE) is None


def unfinished(bucket: Bucket) -> int:
    """The newest checkpoint of which only a part is in the bucket."""
    names = bucket.names("checkpoints")
    steps = {int(name.split("/")[1]) for name in names}
    return max((s for s in steps if f"checkpoints/{s}/{COMMIT_FILE}" not in names), default=0)


def test_sigterm_saves_into_the_bucket(store, tmp_path):
    location = f"{store.url}/stopped"
    bucket = Bucket(location)
    run = Run(location, tmp_path / "run")
    run.wait_for(lambda: newest(bucket) > 0)
    run.processes[0].send_signal(signal.SIGTERM)
    assert run.wait() == [0], run.output()
    assert run.output().endswith(f"stopped at {newest(bucket)}\n")
    assert bucket.read(LOCK_FILE) is None


@pytest.mark.parametrize("lost", [0, 1])
def test_two_processes_resume_bit_for_bit_after_one_was_lost(store, tmp_path, lost):
    location = f"{store.url}/two-{lost}"
    bucket = Bucket(location)
    reference = tmp_path / "whole"
    assert Run(str(reference), tmp_path / "reference", processes=2).wait() == [0, 0]
    first = Run(location, tmp_path / "first", processes=2)
    first.wait_for(lambda: newest(bucket) >= 2 * CHECKPOINT_EVERY)
    first.processes[lost].kill()
    assert 0 not in first.wait()
    second = Run(location, tmp_path / "second", processes=2)
    assert second.wait() == [0, 0], second.output()
    assert "resuming from step" in second.output()
    assert_same_params(reference, Path(location))


def test_corrupt_checkpoint_is_set_aside_in_the_bucket(store, whole, tmp_path, caplog):
    location = f"{store.url}/corrupt"
    with open_workdir(Path(location)) as folder:
        for file in whole.rglob("*"):
            if file.is_file():
                (folder / file.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
                (folder / file.relative_to(whole)).write_bytes(file.read_bytes())
    bucket = Bucket(location)
    name = next(n for n in bucket.names(f"checkpoints/{STEPS}/state") if "/d/" in n)
    bucket.write(name, b"\0" * len(bucket.read(name)))
    load_params(Path(location))
    assert f"warning: {location}/checkpoints/{STEPS}: corrupt checkpoint" in caplog.text
    run = Run(location, tmp_path / "run")
    assert run.wait() == [0], run.output()
    assert f"moved to {location}/corrupt/{STEPS}.0, resuming from step" in run.output()
    assert bucket.read(name.replace(f"checkpoints/{STEPS}", f"corrupt/{STEPS}.0"))
    assert_same_params(whole, Path(location))
