"""Atomic files and directories, locks, and the cache directory."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from v2s_jax.errors import InputError, write_error

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What `zipfile` raises for corrupt bytes; the last two for an unknown compression or version, and
for a file that claims to have a password."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""What file systems answer that cannot lock; EBADF: NFS, about folders."""
POLL_SEC = 0.2
"""Interval at which another process's lock is tried again."""
UNFINISHED = ".unfinished-"
"""Starts the names of files that are being written."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block ends without error.

    A block that raises, or a process that is killed, leaves nothing under `path`. The temporary
    name keeps the suffix, from which ffmpeg and matplotlib choose the format.

    Raises InputError when the folder cannot be created or written, or the disk is full.
    """
    temporary, descriptor = make_temp_file(path.parent, path.suffix)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error.strerror) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder next to `folder`; swap it in when the block ends without error.

    Removes what an interrupted run left under the hidden names. Raises InputError when the folder
    cannot be created, or when an interrupted run had moved it away and never replaced it: it is
    then restored, and the caller's checks for it must run again.
    """
    if not folder.name:
        raise InputError(f"{folder}: cannot be replaced as a whole: name another folder")
    temporary = folder.with_name(f".{folder.name}.incomplete")
    replaced = folder.with_name(f".{folder.name}.replaced")
    with _wrap_os_error(folder):
        if replaced.is_dir() and not folder.exists():
            replaced.rename(folder)
            raise InputError(
                f"{folder}: restored, because a run was stopped while it replaced the folder: "
                "rerun the same command to resume"
            )
        _remove(temporary)
        if os.path.lexists(replaced):
            # Renamed first: a half removed folder must not have the name that is restored.
            replaced.rename(temporary)
            _remove(temporary)
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with _wrap_os_error(folder):
            _swap_directories(folder, temporary, replaced)
    finally:
        with suppress(OSError):
            _remove(temporary)


def _swap_directories(folder: Path, new: Path, old: Path) -> None:
    """Swap `new` and `folder` through the name `old`, or leave everything as it was.

    Where not even that is possible, `old` holds the complete previous folder.
    """
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:  # Ctrl-C too
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    if old.exists():
        old.rename(new)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def directory_lock(folder: Path, option: str = "folder", wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on a folder; it ends with this process, however that ends.

    The folder itself is locked, so that no file is left in it. Removes what dead processes left.
    `option` is what the user can change. With `wait` another process's lock is waited for.
    """
    with _wrap_os_error(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while not _try_lock(descriptor):
            if wait:
                time.sleep(POLL_SEC)
                continue
            raise InputError(
                f"{folder}: another process is writing there: wait for it or choose another "
                f"{option}"
            )
        remove_leftovers(folder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _wrap_os_error(folder: Path, option: str = "folder") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}): choose another {option}"
        ) from error


@contextmanager
def wrap_read_errors(path: Path) -> Iterator[None]:
    """Raise an OSError of the block as an InputError about `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error


def file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def cache_dir() -> Path:
    """Return the user's cache folder of this program."""
    return platformdirs.user_cache_path("v2s_jax", appauthor=False)


def check_writable(folder: Path) -> None:
    """Create a folder if needed; raise InputError when no file can be written in it.

    For long work, which should not fail at its end. Removes what dead processes left there.
    """
    path, descriptor = make_temp_file(folder, "")
    os.close(descriptor)
    path.unlink()
    remove_leftovers(folder)


def make_temp_file(folder: Path, suffix: str) -> tuple[Path, int]:
    """Create an empty file with a hidden, unused name and the permissions of a new file.

    Returns its path, and a descriptor that tells `remove_leftovers` as long as it is open that the
    file is in use. Raises InputError when that is not possible.
    """
    with _wrap_os_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = _unused_name(folder, suffix)
            # `tempfile` would create it with 0600, which survives the rename.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if _try_lock(descriptor) and path.exists():
                return path, descriptor
            os.close(descriptor)  # another process has just taken it for a leftover


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, for files that are moved there when all are whole."""
    with _wrap_os_error(parent):
        folder = _unused_name(parent, "")
        folder.mkdir(parents=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _try_lock(descriptor)
        yield folder
    except InputError as error:  # the user knows the files by where they were to be
        raise type(error)(str(error).replace(str(folder), str(parent))) from error
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a folder."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:  # where files cannot be locked nobody knows whether one is in use
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


def _unused_name(folder: Path, suffix: str) -> Path:
    return folder / f"{UNFINISHED}{secrets.token_hex(8)}{suffix}"


def _try_lock(descriptor: int) -> bool:
    """Lock a file or folder until its descriptor is closed; False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks: go on as if alone
        if error.errno not in _NO_LOCKS:
            raise
    return True
