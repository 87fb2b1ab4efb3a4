"""Processes that others have started: which there are, and whether they run."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="child processes are listed in /proc, not here"
)


def children(process: int | str = "self") -> list[int]:
    """The processes that a process, this one unless given, has started and that are not gone."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def is_running(process: int) -> bool:
    """Whether a process is there, and more than an entry that waits for its parent."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Ask again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {seconds} s"
        time.sleep(0.02)
