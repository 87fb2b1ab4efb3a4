"""Files and folders appear under their name only when they are whole."""

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from v2s_jax.errors import InputError


def _umask() -> int:
    """Read the process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Permissions that new files lack. Read once, on import: while it is being read, files of other
threads would get the wrong ones."""

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What `zipfile` raises of damaged bytes; the last two for a compression or a version that it does
not know, and for a password that was never set."""

HASH_READ_BYTES = 2**20
"""Bytes read at once for a file's hash."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends well.

    A block that raises, or a process that is killed, leaves nothing under `path`. The temporary
    name keeps the suffix, from which ffmpeg and matplotlib choose the format.

    Raises InputError when the folder cannot be made or written, or the disk is full.
    """
    temporary = make_temp_file(path.parent, path.suffix)
    try:
        yield temporary
        temporary.chmod(0o666 & ~UMASK)  # mkstemp's 0600 would survive the rename
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}): free space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _wrap_os_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}): choose another folder"
        ) from error


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder`; put it in that one's place when the block ends well.

    What an interrupted run left under the hidden names is removed. Raises InputError when the
    folder cannot be made there, or when an interrupted run had taken it away and never replaced it:
    it is then back, and whoever asked whether it is there may ask again.
    """
    if not folder.name:
        raise InputError(f"{folder}: cannot be put in its place whole: name another folder")
    temporary = folder.with_name(f".{folder.name}.incomplete")
    replaced = folder.with_name(f".{folder.name}.replaced")
    with _wrap_os_error(folder):
        if replaced.is_dir() and not folder.exists():
            replaced.rename(folder)
            raise InputError(
                f"{folder}: put back, for a run was ended while it replaced it: run the command "
                "again to go on"
            )
        _remove(temporary)
        if os.path.lexists(replaced):
            replaced.rename(temporary)  # half removed it must not bear a name that is put back
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
    """Put `new` in the place of `folder` and what was there in that of `new`, by way of `old`.

    Or leave all as it was; where not even that can be done, `old` is what was there, whole.
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
    """Remove a file, a link, or a folder with all that is in it; or nothing, where none is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def wrap_read_errors(path: Path) -> Iterator[None]:
    """Turn what the system answers to reading `path` in the block into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error


def file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_READ_BYTES):
            digest.update(block)
    return digest.digest()


def cache_dir() -> Path:
    """Return the folder of what is made once for this user and found again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "v2s_jax"


def check_writable(folder: Path) -> None:
    """Make a folder unless it is there; raise InputError when files cannot be made in it.

    For long work, which should not fail at its end.
    """
    make_temp_file(folder, "").unlink()


def make_temp_file(folder: Path, suffix: str) -> Path:
    """Make an empty file under a hidden, unused name; raise InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=suffix, dir=folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror}): choose another folder"
        ) from error
    os.close(handle)
    return Path(name)
