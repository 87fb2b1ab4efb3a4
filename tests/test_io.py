"""Files are whole or not there."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from v2s_jax.errors import InputError
from v2s_jax.io import UMASK, atomic_write, check_writable


def test_a_file_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.suffix == ".txt" and temporary.parent == target.parent
    assert target.read_text() == "whole"
    assert stat.S_IMODE(target.stat().st_mode) & 0o400
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_block_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_follow_the_umask(tmp_path):
    with atomic_write(tmp_path / "a") as temporary:
        temporary.touch()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~UMASK


@pytest.mark.parametrize(("umask", "permissions"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_is_that_of_the_start_and_stays(tmp_path, umask, permissions):
    program = f"""
import os
from pathlib import Path
from v2s_jax.io import whole_file
assert os.umask(0) == {umask}, "importing changed it"
with whole_file(Path({str(tmp_path / "a")!r})) as temporary:
    temporary.touch()
"""
    subprocess.run([sys.executable, "-c", program], check=True, umask=umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == permissions


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="choose another folder"),
        atomic_write(tmp_path / "file" / "a.txt"),
    ):
        pass


def test_a_full_disk(tmp_path):
    """/dev/full answers every write as a full disk does."""
    with (
        pytest.raises(InputError, match=r"a.txt: cannot be written \(No space left"),
        atomic_write(tmp_path / "a.txt"),
        Path("/dev/full").open("w") as full,
    ):
        full.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_check_writable_leaves_the_folder_empty(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another folder"):
        check_writable(tmp_path / "file")
