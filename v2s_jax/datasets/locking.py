"""One writer at a time in an output folder, and how many workers it may have."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from v2s_jax.errors import InputError

CORES = os.cpu_count() or 1


@contextmanager
def directory_lock(out: Path) -> Iterator[None]:
    """Hold a lock on the folder, which ends with this process however that ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be used as a folder ({error.strerror}): choose another --out"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{out}: another `prepare` is at work there: wait for it or choose another --out"
            ) from error
        yield
    finally:
        os.close(handle)
