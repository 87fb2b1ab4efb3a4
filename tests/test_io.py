"""Atomic files, and locks."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from v2s_jax.errors import InputError
from v2s_jax.io import (
    atomic_directory,
    atomic_write,
    cache_dir,
    check_writable,
    directory_lock,
    staging_folder,
)


def test_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("complete")
        assert not target.exists()
        assert temporary.suffix == ".txt" and temporary.parent == target.parent
    assert target.read_text() == "complete"
    assert stat.S_IMODE(target.stat().st_mode) & 0o400
    assert list(target.parent.iterdir()) == [target]


def test_failed_block_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("umask", "permissions"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, permissions):
    previous = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a") as temporary:
            temporary.touch()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == permissions


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="choose another folder"),
        atomic_write(tmp_path / "file" / "a.txt"),
    ):
        pass


def test_full_disk(tmp_path):
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


def test_directory_lock_is_exclusive(tmp_path):
    folder = tmp_path / "out"
    with (
        directory_lock(folder),
        pytest.raises(InputError, match="another process is writing there"),
        directory_lock(folder),
    ):
        pass
    with directory_lock(folder):
        pass


def test_leftovers_of_dead_processes_only_are_removed(tmp_path):
    with atomic_write(tmp_path / "a.txt") as temporary, staging_folder(tmp_path) as staging:
        temporary.write_text("in use")
        (staging / "b.txt").touch()
        (tmp_path / ".unfinished-dead.txt").touch()
        (tmp_path / ".unfinished-dead").mkdir()
        (tmp_path / ".unfinished-dead" / "c.txt").touch()
        (tmp_path / ".other").touch()
        check_writable(tmp_path)
        assert set(tmp_path.iterdir()) == {temporary, staging, tmp_path / ".other"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", ".other"}
    (tmp_path / ".unfinished-dead.txt").touch()
    with directory_lock(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"a.txt", ".other"}


def test_errors_do_not_name_the_staging_folder(tmp_path):
    with (
        pytest.raises(InputError, match=f"^{tmp_path}/a.txt: broken$"),
        staging_folder(tmp_path) as staging,
    ):
        raise InputError(f"{staging / 'a.txt'}: broken")
    assert not list(tmp_path.iterdir())


def test_cache_follows_the_xdg_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "v2s_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "v2s_jax"


@pytest.mark.parametrize("case", ["cwd", "proc", "below a file", "file in the way"])
def test_folders_that_cannot_be_made(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / ".made.incomplete").touch()
    where = {"cwd": ".", "proc": "/proc/made", "below a file": "file/made"}.get(case, "made")
    if case == "file in the way":
        with atomic_directory(Path(where)):
            pass
        assert Path(where).is_dir()
        return
    refused = pytest.raises(InputError, match=r"cannot be (written|replaced)")
    with refused, atomic_directory(Path(where)):
        pass


def folder_with(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (OSError(errno.EXDEV, "Invalid cross-device link"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_folder_that_cannot_be_replaced_is_kept(tmp_path, monkeypatch, problem, expected):
    folder, rename = folder_with(tmp_path / "made", "old"), Path.rename

    def refused(self, target):
        if self.name.endswith(".incomplete"):
            raise problem
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(expected), atomic_directory(folder) as new:
        (new / "file").write_text("new")
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_folder_that_cannot_be_restored_is_kept_for_the_next_run(tmp_path, monkeypatch):
    """The disk fails during the swap and stays broken."""
    folder, rename = folder_with(tmp_path / "made", "old"), Path.rename

    def refused(self, target):
        if self.name != "made":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "rename", refused)
        with pytest.raises(InputError, match="made: cannot be written"), atomic_directory(folder):
            pass
    assert not folder.exists()
    with pytest.raises(InputError, match="made: restored"), atomic_directory(folder):
        pass
    assert (folder / "file").read_text() == "old"


def test_folder_being_removed_is_never_restored(tmp_path, monkeypatch):
    folder = folder_with(tmp_path / "made", "old")

    def killed(path, **_):
        raise SystemExit(str(path))

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(SystemExit, match=r"made\.incomplete"), atomic_directory(folder) as new:
        (new / "file").write_text("new")
    assert (folder / "file").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"made", ".made.incomplete"}


def test_folder_that_an_interrupted_run_moved_is_restored(tmp_path):
    """And the next run does not replace it without checking --overwrite."""
    folder_with(tmp_path / ".made.replaced", "old")
    folder = tmp_path / "made"
    with pytest.raises(InputError, match="made: restored"), atomic_directory(folder):
        pass
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
