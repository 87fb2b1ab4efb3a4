"""librosa, loaded by one process at a time.

While librosa is loaded, numba compiles some of its functions, each for several types, and keeps
them in files beside librosa's sources. Two processes that do so at once, as in a new environment,
can leave code for one type under the name of another, which crashes or misleads all later ones.
"""

import contextlib
import fcntl
import functools
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


@functools.cache
def librosa() -> ModuleType:
    """Return librosa, with everything loaded that numba compiles for what is used of it here."""
    library = importlib.import_module("librosa")  # its modules are loaded when they are named
    with _alone_in(Path(library.__path__[0])):
        importlib.import_module("librosa.onset")  # brings in core, feature, filters and util
    return library


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, where its file system has locks; wait while another holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
