"""The build of the cpu engine: one at a time, complete or not at all, failures that are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from v2s_jax.errors import InputError
from v2s_jax.kernels import build as building

BUILD = [sys.executable, "-m", "v2s_jax", "build"]


def script(path: Path, *lines: str) -> str:
    """Write a program for CXX."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def compiler(tmp_path, monkeypatch) -> Path:
    """Set CXX to the real compiler, in a hurry; returns the file that has a line for each call."""
    real, calls = building.find_compiler(), tmp_path / "calls"
    if real is None:
        pytest.skip("no C++ compiler")
    quick = script(tmp_path / "quick", f"echo call >> {calls}", f'exec {real} "$@" -O0')
    monkeypatch.setenv("CXX", quick)
    return calls


def test_two_processes_build_once(other_cache, compiler):
    """The second waits for the first, and finds its library."""
    both = [subprocess.Popen(BUILD, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    path = building.library_path()
    assert outputs == [f"{path}: the cpu engine\n"] * 2
    assert compiler.read_text() == "call\n"
    assert list(other_cache.iterdir()) == [path]
    assert building.why_not_built() is None


def test_a_build_in_the_background_does_not_wait(other_cache, compiler, monkeypatch):
    """Of many started while one builds, none is left over."""
    with building.directory_lock(other_cache):
        code = [sys.executable, "-m", "v2s_jax.kernels.build"]
        assert subprocess.run(code, check=True, capture_output=True).stderr == b""
    assert not compiler.exists() and not list(other_cache.iterdir())


def test_a_killed_build_leaves_no_library(other_cache, tmp_path, monkeypatch):
    started = tmp_path / "started"
    slow = script(tmp_path / "slow", f"touch {started}", "exec sleep 600")
    process = subprocess.Popen(
        BUILD, env=os.environ | {"CXX": slow}, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not started.exists():
        assert process.poll() is None
    os.killpg(process.pid, 9)
    process.wait()
    assert not building.library_path().exists()
    assert building.why_not_built() is None  # the next one tries again
    assert not list(other_cache.iterdir())  # and has removed what was left


def test_building_needs_a_compiler(other_cache, no_compiler, monkeypatch):
    assert "no C++ compiler: install g++ (" in building.why_not_built()
    with pytest.raises(InputError, match=r"no C\+\+ compiler: install"):
        building.build()
    assert not other_cache.exists()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"no-such-compiler: cannot be run .*: set CXX"):
        building.build()
    assert [path.suffix for path in other_cache.iterdir()] == [".failed"]


def test_a_failed_build_is_not_tried_again_by_itself(other_cache, compiler, tmp_path, monkeypatch):
    broken = script(tmp_path / "broken", "echo 'sampler.cc:1: error: no such header' >&2", "exit 1")
    working = os.environ["CXX"]
    monkeypatch.setenv("CXX", broken)
    with pytest.raises(InputError, match=r"broken failed \(.*: error: no such header\): set CXX"):
        building.build()
    problem = building.why_not_built()
    assert problem.startswith("building it failed: ") and problem.endswith("then v2s build")
    assert "no such header" in problem and "\n" not in problem
    monkeypatch.setenv("CXX", working)
    assert building.why_not_built() == problem
    assert building.build() == building.library_path()
    assert building.why_not_built() is None
    assert list(other_cache.iterdir()) == [building.library_path()]


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, compiler):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "cannot be written (Not a directory)" in building.why_not_built()
    with pytest.raises(InputError, match="cannot be written"):
        building.build()
    assert not compiler.exists()
