"""Files in a bucket (gs:// or s3://).

Orbax cannot write to S3, and nothing can append to a file in a bucket. So a run is written to a
local folder and copied from there (training/bucket_workdir.py), and a checkpoint is copied to a
local folder before it is read (checkpoints.py).
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from v2s_jax.errors import InputError, reason, require_extra

EXTRAS = {"gs": ("gcp", "gcsfs"), "gcs": ("gcp", "gcsfs"), "s3": ("s3", "s3fs")}
"""Which extra brings which package for a scheme."""

OPTIONS: dict[str, dict[str, Any]] = {
    "gs": {"consistency": "md5"},
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 10}}},
}
"""gcsfs does not compare checksums of uploads by itself, s3fs does. s3fs gives up after two seconds
of 503, gcsfs after half a minute."""

SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])|(gs|gcs|s3):/*$", re.IGNORECASE)
"""At least two letters, and a slash: pathlib drops the other one, and both of a URL without a
bucket."""

NOISY_LOGGERS = ("google.auth",)
"""What warns of errors that are raised too, besides the stores' own."""


def url_of(path: PathLike[str] | str) -> str | None:
    """Return the URL that a path was made from, without a slash at its end; None for a file."""
    match = SCHEME.match(str(path))
    if match is None:
        return None
    return f"{(match[1] or match[2]).lower()}://{str(path)[match.end() :].rstrip('/')}"


def check_url(url: str) -> None:
    """Raise InputError for a URL of another scheme than those of EXTRAS, or without a bucket."""
    scheme, _, rest = url.partition("://")
    if scheme not in EXTRAS:
        raise InputError(f"{url}: unknown scheme {scheme}: use a folder, gs:// or s3://")
    if not rest.strip("/"):
        raise InputError(f"{url}: names no bucket: use {scheme}://BUCKET/FOLDER")


def check_local(path: Path | None, option: str) -> None:
    """Raise InputError if an option that takes only local paths is given a URL."""
    if path is not None and (url := url_of(path)):
        raise InputError(f"{option} {url}: takes no URL: use a local path, and copy the files")


class Bucket:
    """A folder in a bucket. Files have names relative to it, with slashes.

    Raises InputError when the scheme is unknown, a package is missing, or the bucket does not exist
    or cannot be listed. The methods raise what the store raises: each has types of its own.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # most runs need no bucket

        check_url(url)
        scheme = url.partition("://")[0]
        require_extra(*EXTRAS[scheme])
        kind = fsspec.get_filesystem_class(scheme)
        # Their loggers print tracebacks of errors that are raised too.
        for name in (kind.__module__.partition(".")[0], *NOISY_LOGGERS):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.url = url
        with wrap_bucket_errors(url, "opened"):
            # What one listing said must not hide what another process has written since.
            self._files = kind(use_listings_cache=False, **OPTIONS.get(scheme, {}))
            self._root = self._files._strip_protocol(url).rstrip("/")
            self.names()  # asking for the bucket itself would need more permissions

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def is_file(self) -> bool:
        """Say whether the URL is that of a file."""
        return bool(self._files.isfile(self._root))

    def names(self, folder: str = "") -> list[str]:
        """Return all files below a folder, at any depth; none if it does not exist."""
        prefix = f"{self._root}/"
        keys = self._files.find(self._key(folder))
        return [
            key.removeprefix(prefix)
            for key in keys
            if key.startswith(prefix) and not key.endswith("/")  # a placeholder of a folder
        ]

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if it does not exist."""
        try:
            return bytes(self._files.cat_file(self._key(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, *, is_new: bool = False) -> None:
        """Write a file, which appears as a whole. With `is_new`, FileExistsError if it exists."""
        self._files.pipe_file(self._key(name), data, mode="create" if is_new else "overwrite")

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """Copy files of a local folder to the same names."""
        self._files.put([str(folder / name) for name in names], [*map(self._key, names)])

    def download(self, names: Sequence[str], folder: Path) -> None:
        """Copy files into a local folder, under the same names."""
        for name in names:
            if ".." in (path := PurePosixPath(name)).parts or path.is_absolute():
                raise OSError(f"{name} leaves the folder")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        self._files.get([*map(self._key, names)], [str(folder / name) for name in names])

    def remove(self, names: Iterable[str]) -> None:
        """Remove files one after the other, as far as they exist."""
        for name in names:
            try:
                self._files.rm_file(self._key(name))
            except FileNotFoundError:
                continue


@contextmanager
def wrap_bucket_errors(url: str, what: str) -> Iterator[None]:
    """Raise whatever a store raises in the block as an InputError: `url` cannot be `what`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # OSError, botocore's, aiohttp's and Google's
        is_missing = isinstance(error, FileNotFoundError) and what == "opened"
        why = "no such bucket" if is_missing else reason(error)
        raise InputError(
            f"{url}: cannot be {what} ({why}): check the name, the network, and that you "
            "may list, read, write and delete there"
        ) from error


@contextmanager
def named_as(folder: Path, url: str) -> Iterator[None]:
    """Name files by their URL in the errors and warnings of a block that reads their copies."""

    def rename(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace(str(folder), url), ()
        return True

    handlers = [*filter(None, (*logging.getLogger().handlers, logging.lastResort))]
    for handler in handlers:
        handler.addFilter(rename)
    try:
        yield
    except InputError as error:
        raise type(error)(str(error).replace(str(folder), url)) from error
    finally:
        for handler in handlers:
            handler.removeFilter(rename)
