"""Run ffmpeg as a child process that never outlives its caller, and read its log."""

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

ERROR = re.compile(r"\[(?:error|fatal)\] +(.+)")
CORRUPTION = re.compile(
    r"\[(?:error|fatal)\] +(.+)|\[warning\] +(.*(?:corrupt|premature|partial|size mismatch).*)",
    re.IGNORECASE,
)

SOURCE_OPTIONS = ("-copyts", "-protocol_whitelist", "file")
"""Options before every input video.

The file's own timestamps, so that frames and audio that separate runs read have the same zero. Only
files, so that a playlist cannot reach the network.
"""


def url(path: Path) -> str:
    """Return the form of a path in which no character is special to ffmpeg."""
    return f"file:{path}"


class Run:
    """An ffmpeg process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> IO[bytes]:
        """ffmpeg's standard output."""
        assert self.process.stdout is not None
        return self.process.stdout

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Write to ffmpeg's standard input and close it; stop early when ffmpeg has ended."""
        assert self.process.stdin is not None
        # Unbuffered: closing has nothing left to write, so it cannot fail after an error.
        with suppress(BrokenPipeError), self.process.stdin.raw as stdin:  # type: ignore[attr-defined]
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[stdin.write(rest) :]

    def wait(self) -> None:
        """Wait for ffmpeg to end; raise KilledError when it was killed.

        A crash of ffmpeg, which a corrupt file can cause, raises nothing.
        """
        if self.process.wait() == -signal.SIGKILL:
            raise KilledError(
                "ffmpeg was killed, probably because memory ran out: free some and run again"
            )

    def log_lines(self) -> Iterator[str]:
        """Yield the lines of the log; it is complete once the process has ended."""
        self._log.seek(0)
        for line in self._log:
            yield line.decode("utf-8", "replace").rstrip()

    def search(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the first match in a line of the log."""
        return next((match for line in self.log_lines() if (match := pattern.search(line))), None)

    def first_error(self, pattern: re.Pattern[str] = ERROR) -> str | None:
        """Return ffmpeg's first error message, without its prefixes."""
        match = self.search(pattern)
        return match and next(group for group in match.groups() if group).rstrip(".")


@contextmanager
def ffmpeg(
    *arguments: str,
    log_level: str = "warning",
    feed: bool = False,
    source: int = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[Run]:
    """Run ffmpeg during the block; kill it if it still runs when the block ends.

    Its standard output is a pipe. Its standard input is a pipe with `feed`, otherwise the file
    descriptor `source`. It inherits the descriptors `pass_fds`.
    """
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", f"level+{log_level}"),
        *arguments,
    ]
    with (
        tempfile.TemporaryFile() as log,  # a pipe that nobody reads would block ffmpeg
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else source,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=pass_fds,
        ) as process,
    ):
        try:
            yield Run(process, log)
        finally:
            if process.poll() is None:
                process.kill()
