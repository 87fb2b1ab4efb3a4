"""Worker processes and signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.child_processes import children, is_running, needs_proc, wait_for
from v2s_jax.errors import InputError
from v2s_jax.processes import PreemptionGuard, block_sigint, parallel_map, run_isolated

ROOT = Path(__file__).parents[1]
CHILD = """
import time
from v2s_jax.processes import run_isolated

if __name__ == "__main__":
    run_isolated(time.sleep, 600)
"""


def raise_input_error() -> None:
    raise InputError("seed -1")


def test_isolated_call_returns_and_raises(capfd):
    assert run_isolated(divmod, 7, 2) == (3, 1)
    with pytest.raises(InputError, match="seed -1"):
        run_isolated(raise_input_error)
    with pytest.raises(InputError, match=r"killed \(SIGKILL\)"):
        run_isolated(signal.raise_signal, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="code 1"):
        run_isolated(divmod, 1, 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def thread_counts(_: int) -> list[int]:
    """Return the number of threads of each library of this process."""
    import cv2
    import scipy.linalg  # has its own BLAS
    from threadpoolctl import threadpool_info

    assert scipy.linalg.norm(np.ones(3)) > 0
    return [cv2.getNumThreads(), *(library["num_threads"] for library in threadpool_info())]


def test_parallel_map_keeps_the_order_and_computes_on_one_thread():
    assert list(parallel_map(abs, range(-20, 0), workers=2)) == list(range(20, 0, -1))
    (counts,) = parallel_map(thread_counts, [0], workers=1)
    assert len(counts) >= 2 and set(counts) == {1}


def test_killed_worker_is_reported():
    with pytest.raises(InputError, match="worker processes was killed"):
        list(parallel_map(os._exit, [9], workers=1))


def test_ctrl_c_waits_until_the_block_ends():
    executed = []
    with pytest.raises(KeyboardInterrupt):
        with block_sigint():
            signal.raise_signal(signal.SIGINT)
            executed.append("in the block")
        executed.append("after the block")
    assert executed == ["in the block"]
    with pytest.raises(KeyboardInterrupt), block_sigint():
        signal.raise_signal(signal.SIGINT)
        raise OSError("no memory to start a process")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_isolated_process_ends_with_its_parent(tmp_path, number):
    script = tmp_path / "parent.py"
    script.write_text(CHILD)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: children(parent.pid))
        (*_, child) = children(parent.pid)
        wait_for(lambda: is_importing_done(child))
        parent.send_signal(number)
        _, stderr = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert stderr.count("Traceback") == (number == signal.SIGINT)  # the parent's
    wait_for(lambda: not is_running(child))


def is_importing_done(process: int) -> bool:
    """Whether a child ignores Ctrl-C: it has reached our code."""
    status = Path(f"/proc/{process}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored, 16) & 1 << (signal.SIGINT - 1))


def test_preemption_guard_records_sigterm():
    previous = signal.getsignal(signal.SIGTERM)
    with PreemptionGuard() as guard:
        assert not guard.requested
        signal.raise_signal(signal.SIGTERM)
        assert guard.requested
    assert signal.getsignal(signal.SIGTERM) is previous
