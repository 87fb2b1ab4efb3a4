"""Child processes of a process, and whether they run."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc, which lists child processes"
)


def children(process: int | str = "self") -> list[int]:
    """Return the child processes of a process."""
    paths = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in paths for child in path.read_text().split()]


def is_running(process: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def exit_codes(processes: Sequence[subprocess.Popen], seconds: float) -> list[int]:
    """Wait for all processes and return their exit codes; none is left running."""
    try:
        return [process.wait(seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {seconds} s"
        time.sleep(0.02)
