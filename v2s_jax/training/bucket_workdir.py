"""A run's folder in a bucket: a local folder whose files a thread copies there.

A run starts from the finished checkpoints and the log in the bucket. A checkpoint is finished when
COMMIT_FILE is there, which is written last and removed first. Files of the run that belong to a
checkpoint, such as the log up to its step, are copied before it.

When the bucket cannot be reached, the run goes on and the copies are made later.
"""

import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from v2s_jax.bucket import Bucket, named_as, url_of, wrap_bucket_errors
from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE
from v2s_jax.errors import InputError, reason
from v2s_jax.io import UNFINISHED, remove_leftovers, staging_folder
from v2s_jax.run_folder import CHECKPOINTS, COMMIT_FILE, finished_checkpoints
from v2s_jax.training.bucket_lock import BucketLock
from v2s_jax.training.budget import BUDGET_FILE
from v2s_jax.training.checkpoint import CORRUPT_FOLDER, SHORTER_RUN_FOLDER
from v2s_jax.training.metrics import METRICS_FILE

POLL_SEC = 1.0
"""Time between two looks for something to copy; only local folders are listed."""
MIN_INTERVAL_SEC = 60.0
"""Least time between two copies of a growing file, which is copied as a whole each time."""
GROWING_BYTES_PER_SEC = 100_000
"""Rate at which it may be copied: a bucket may keep, and bill, each version for days."""
FINAL_ATTEMPTS = 5
FINAL_PAUSE_SEC = 5.0
RESUMED_FILES = {METRICS_FILE, BEST_PARAMS_FILE, PARAMS_FILE, BUDGET_FILE}
"""What a run that resumes reads or moves away, besides its checkpoints."""
COMMIT_PATH = re.compile(rf"({CHECKPOINTS}/\d+)/{COMMIT_FILE}")
"""Of a checkpoint; its items have such a file too."""
ORBAX_UNFINISHED = ".orbax-checkpoint-tmp"

Version = tuple[int, int, int]
"""Inode, time of change and size of a file."""

logger = logging.getLogger(__name__)


@contextmanager
def open_workdir(location: Path, *, is_main: bool = True) -> Iterator[Path]:
    """Yield the local folder of the run at `location`: itself, or a copy of a URL's.

    The main process locks the run in the bucket and starts from its checkpoints; the others only
    add files. When the block ends, everything is in the bucket. Raises InputError when it cannot
    be, or when another process has the run.
    """
    url = url_of(location)
    if url is None:
        yield location
        return
    parent = Path(tempfile.gettempdir()) / f"v2s_jax-{os.getuid()}"
    remove_leftovers(parent)
    with staging_folder(parent) as staging, ExitStack() as stack:
        folder = staging / "run"  # which can be locked, as the other one is
        folder.mkdir()
        stack.enter_context(named_as(folder, url))
        if is_main:
            bucket = Bucket(url)
            lock = stack.enter_context(BucketLock(bucket))
            with wrap_bucket_errors(url, "read"):
                _download(bucket, folder)
            stack.enter_context(_Mirror(bucket, folder, lock))
        yield folder
        if not is_main and (profile := _files(folder)):
            with wrap_bucket_errors(url, "written"):
                Bucket(url).upload(folder, profile)


def _download(bucket: Bucket, folder: Path) -> None:
    """Copy what a run resumes from, and remove checkpoints that were never finished."""
    names = bucket.names()
    ours = [name for name in names if name.startswith(f"{CHECKPOINTS}/")]
    wanted = {name for files in finished_checkpoints(ours).values() for name in files}
    bucket.remove(name for name in ours if name not in wanted)
    bucket.download(sorted(wanted | RESUMED_FILES & set(names)), folder)
    for name in names:  # their names are taken
        if name.startswith(f"{CORRUPT_FOLDER}/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        elif name.startswith(f"{SHORTER_RUN_FOLDER}/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


class _Mirror(ExitStack):
    """Copies what changes in `folder` to `bucket` until its `with` block ends."""

    def __init__(self, bucket: Bucket, folder: Path, lock: BucketLock) -> None:
        super().__init__()
        self._bucket, self._folder, self._lock = bucket, folder, lock
        files, checkpoints = self._scan()
        self._files: dict[str, Version] = files
        """What the bucket has."""
        self._checkpoints: dict[str, Version] = checkpoints
        self._copied_at: dict[str, float] = {}
        self._failing = False
        self._stop = threading.Event()
        thread = threading.Thread(target=self._keep_copying, daemon=True)
        thread.start()
        self.callback(self._finish)
        self.callback(thread.join)
        self.callback(self._stop.set)

    def _keep_copying(self) -> None:
        while not self._stop.wait(POLL_SEC):
            try:
                self._copy()
            except InputError as error:  # the lock is lost
                logger.warning("error: %s", error)
                signal.raise_signal(signal.SIGTERM)
                return
            except Exception as error:  # each store has its own types
                self._warn(error)
            else:
                self._failing = False

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            logger.warning(
                "warning: %s: cannot be written (%s): the run goes on, and is copied later",
                *(self._bucket.url, reason(error)),
            )
        self._failing = True

    def _finish(self) -> None:
        """Copy the rest. Raises InputError when that fails, and keeps the local folder."""
        problem: Exception = OSError("not tried")
        for attempt in range(FINAL_ATTEMPTS):
            time.sleep(FINAL_PAUSE_SEC if attempt else 0)
            try:
                self._copy(is_last=True)
                return
            except InputError:
                raise
            except Exception as error:
                problem = error
        kept = self._folder.rename(tempfile.mkdtemp(prefix="v2s-run-"))
        raise InputError(
            f"{self._bucket.url}: cannot be written ({reason(problem)}): what is missing there is "
            f"in {kept}: copy it, or rerun the same command to resume without"
        ) from problem

    def _copy(self, is_last: bool = False) -> None:
        """Copy what has changed; remove the checkpoints that the run has removed."""
        self._lock.check()
        files, checkpoints = self._scan()
        new = [name for name, version in checkpoints.items() if self._is_new(name, version)]
        for name, version in files.items():
            if self._files.get(name) != version and (is_last or new or self._is_due(name, version)):
                self._bucket.write(name, (self._folder / name).read_bytes())
                self._files[name] = version
                self._copied_at[name] = time.monotonic()
        for name in self._files.keys() - files.keys():
            if not (self._folder / name).exists():
                self._bucket.remove([name])
                del self._files[name]
        for name in sorted(new, key=_step, reverse=True):
            if (self._folder / name / COMMIT_FILE).exists():  # Orbax may have removed it since
                self._copy_checkpoint(name)
                self._checkpoints[name] = checkpoints[name]
        for name in self._checkpoints.keys() - checkpoints.keys():
            if not (self._folder / name).exists():
                self._remove_checkpoint(name)
                del self._checkpoints[name]

    def _is_new(self, checkpoint: str, version: Version) -> bool:
        return self._checkpoints.get(checkpoint) != version

    def _is_due(self, name: str, version: Version) -> bool:
        if name not in self._copied_at:
            return True
        interval = max(MIN_INTERVAL_SEC, version[-1] / GROWING_BYTES_PER_SEC)
        return time.monotonic() - self._copied_at[name] >= interval

    def _copy_checkpoint(self, name: str) -> None:
        commit = f"{name}/{COMMIT_FILE}"
        self._bucket.remove([commit])
        names = [f"{name}/{file}" for file in _files(self._folder / name)]
        self._bucket.upload(self._folder, [each for each in names if each != commit])
        self._bucket.upload(self._folder, [commit])

    def _remove_checkpoint(self, name: str) -> None:
        self._bucket.remove([f"{name}/{COMMIT_FILE}"])
        self._bucket.remove(self._bucket.names(name))

    def _scan(self) -> tuple[dict[str, Version], dict[str, Version]]:
        """Return the versions of whole files, and of the commit files of finished checkpoints."""
        files: dict[str, Version] = {}
        checkpoints: dict[str, Version] = {}
        for name in _files(self._folder):
            if UNFINISHED in name or ORBAX_UNFINISHED in name:
                continue
            try:
                stat = (self._folder / name).stat()
            except FileNotFoundError:  # removed since
                continue
            version = stat.st_ino, stat.st_mtime_ns, stat.st_size
            if not name.startswith(f"{CHECKPOINTS}/"):
                files[name] = version
            elif commit := COMMIT_PATH.fullmatch(name):
                checkpoints[commit[1]] = version
        return files, checkpoints


def _files(folder: Path) -> list[str]:
    """Return the names of all files below a folder, as far as they are not being removed."""
    return [
        (Path(path) / file).relative_to(folder).as_posix()
        for path, _, files in os.walk(folder)
        for file in files
    ]


def _step(checkpoint: str) -> int:
    return int(checkpoint.rpartition("/")[2])
