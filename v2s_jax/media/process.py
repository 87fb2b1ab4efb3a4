"""Run ffmpeg so that it is always reaped, and find in its log what went wrong."""

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from v2s_jax.errors import KilledError

_FAULT = re.compile(r"\[(?:error|fatal)\] +(.+)")
_DAMAGE = re.compile(
    r"\[(?:error|fatal)\] +(.+)|\[warning\] +(.*(?:corrupt|premature|partial|size mismatch).*)",
    re.IGNORECASE,
)

SOURCE_OPTIONS = ("-copyts", "-protocol_whitelist", "file")
"""What every input video is opened with.

The file's own timestamps, so that picture and sound read by separate runs share a zero; no
address but files, so that a playlist cannot reach out.
"""


def url(path: Path) -> str:
    """Return the form in which ffmpeg takes any path literally."""
    return f"file:{path}"


class Run:
    """One ffmpeg process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> IO[bytes]:
        """What ffmpeg writes to its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Write to ffmpeg's standard input and end it; stop early when ffmpeg has ended."""
        assert self.process.stdin is not None
        # Unbuffered: closing has nothing left to write, so it cannot fail after an error.
        with suppress(BrokenPipeError), self.process.stdin.raw as stdin:  # type: ignore[attr-defined]
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[stdin.write(rest) :]

    def end(self) -> None:
        """Wait for ffmpeg to end; raise KilledError when it was killed.

        A crash of ffmpeg itself, which a damaged file can cause, is not that.
        """
        if self.process.wait() == -signal.SIGKILL:
            raise KilledError("ffmpeg was killed, most likely for want of memory: free some, go on")

    def log_lines(self) -> Iterator[str]:
        """Give the log's lines so far; complete once the process has ended."""
        self._log.seek(0)
        for line in self._log:
            yield line.decode("utf-8", "replace").rstrip()

    def first_error(self) -> str | None:
        """Return ffmpeg's first error message, without its prefixes."""
        return self._first_match(_FAULT)

    def first_corruption(self) -> str | None:
        """Return ffmpeg's first remark about damaged data."""
        return self._first_match(_DAMAGE)

    def _first_match(self, pattern: re.Pattern[str]) -> str | None:
        for line in self.log_lines():
            if found := pattern.search(line):
                return next(group for group in found.groups() if group).rstrip(".")
        return None


@contextmanager
def ffmpeg(
    *arguments: str,
    log_level: str = "warning",
    feed: bool = False,
    source: int = subprocess.DEVNULL,
    pass_on: tuple[int, ...] = (),
) -> Iterator[Run]:
    """Run ffmpeg while the block runs; kill it if it is still at work when the block ends.

    Its standard output is a pipe, and with `feed` its standard input too, which
    is otherwise `source`; the descriptors of `pass_on` stay open for it. The log goes to an
    unnamed file: a pipe that nobody empties would stop ffmpeg.
    """
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", f"level+{log_level}"),
        *arguments,
    ]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else source,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=pass_on,
        ) as process,
    ):
        try:
            yield Run(process, log)
        finally:
            if process.poll() is None:
                process.kill()
