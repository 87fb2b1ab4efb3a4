"""Files that may be local or in a bucket (gs:// or s3://)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etils import epath

from v2s_jax.bucket import url_of
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write


@contextmanager
def local_copy(path: str) -> Iterator[Path]:
    """Yield a local file with the bytes of `path`: itself, or a temporary copy of a remote file."""
    if not url_of(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.rsplit("/", 1)[-1]
        try:
            epath.Path(path).copy(copy)
        except Exception as error:  # each remote store has its own exception types
            raise InputError(f"{path}: download failed ({error}): check the bucket") from error
        yield copy


def write_bytes(path: epath.Path, data: bytes) -> None:
    """Write a file atomically; uploads to a bucket always are."""
    if url_of(path):
        path.write_bytes(data)
        return
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(data)
