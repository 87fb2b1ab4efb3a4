"""Run ffmpeg as a child process that never outlives its caller, and read its log."""

import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from v2s_jax.errors import InputError, KilledError
from v2s_jax.media.formats import FORMATS

ERROR = re.compile(r"\[(?:error|fatal)\] +(.+)")
CORRUPTION = re.compile(
    r"\[(?:error|fatal)\] +(.+)|\[warning\] +(.*(?:corrupt|premature|partial|size mismatch).*)",
    re.IGNORECASE,
)
_REFUSED_FORMAT = "Format not on whitelist"
_EXTERNAL_TRACK = "Skipped opening external track"
_OUT_OF_MEMORY = ("Cannot allocate memory", "pthread_create() failed")

_MAX_READER_BYTES = 384 * 2**20
"""Memory of an ffmpeg that reads: 4K takes 120 MB, and a hostile file could take any amount."""
# One filter graph for all images: a new one at a change of size would restart its clock.
_ONE_GRAPH = ("-reinit_filter:v", "0")
_THREADS = 2  # each holds a frame or more


def url(path: Path) -> str:
    """Return the form of a path in which no character is special to ffmpeg."""
    return f"file:{path}"


def input_args(path: Path, *options: str) -> tuple[str, ...]:
    """Return the arguments for an input file.

    The file's own timestamps, so that frames and audio that separate runs read have the same zero.
    Only formats of `FORMATS`, which hold their data themselves, and only the protocol of files.
    """
    return (*_reader_options("file"), *options, "-i", url(path))


def _reader_options(protocols: str) -> tuple[str, ...]:
    allowed = ("-protocol_whitelist", protocols, "-format_whitelist", ",".join(FORMATS))
    threads = ("-threads", str(_THREADS), "-filter_threads", str(_THREADS))
    return ("-copyts", *allowed, *threads, *_ONE_GRAPH)


def check_is_file(path: Path) -> None:
    """Raise InputError unless `path` is a regular file with content that can be read."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder: give a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a regular file: give a file")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: is empty: copy or record it again")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: check the path") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the file") from error


class Run:
    """An ffmpeg process and its log."""

    def __init__(
        self, process: subprocess.Popen[bytes], log: IO[bytes], source: Path | str | None
    ) -> None:
        self.process = process
        self._log = log
        self._source = source

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
        """Wait for ffmpeg to end; raise an error when it was killed or refused its input.

        A crash of ffmpeg, which a corrupt file can cause, raises nothing.

        Raises:
            KilledError: ffmpeg was killed.
            InputError: The input refers to other files, or takes too much memory.
        """
        if self.process.wait() == -signal.SIGKILL:
            raise KilledError(
                "ffmpeg was killed, probably because memory ran out: free some and run again"
            )
        if self._source is None:
            return
        for line in self.log_lines():
            if _REFUSED_FORMAT in line:
                raise InputError(
                    f"{self._source}: is not a video or audio file of a format that is read "
                    "(playlists and manifests, which refer to other files, are not): convert it "
                    "to MP4 or Matroska"
                )
            if _EXTERNAL_TRACK in line:
                raise InputError(
                    f"{self._source}: refers to another file, which is not read: save it as a "
                    "self-contained file"
                )
            if any(text in line for text in _OUT_OF_MEMORY):
                raise InputError(
                    f"{self._source}: takes more than {_MAX_READER_BYTES >> 20} MiB to decode: "
                    "scale its images down"
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
def read_file(path: Path, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[Run]:
    """Run ffmpeg on a regular file, in bounded memory."""
    check_is_file(path)
    with ffmpeg(*input_args(path), *arguments, pass_fds=pass_fds, source=path) as run:
        yield run


@contextmanager
def read_pipe(descriptor: int, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[Run]:
    """Run ffmpeg on a file descriptor, in bounded memory."""
    options = (*_reader_options("pipe,fd"), "-i", "pipe:0")
    with ffmpeg(
        *options, *arguments, stdin=descriptor, pass_fds=pass_fds, source="standard input"
    ) as run:
        yield run


@contextmanager
def ffmpeg(
    *arguments: str,
    feed: bool = False,
    stdin: int = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
    source: Path | str | None = None,
) -> Iterator[Run]:
    """Run ffmpeg during the block; kill it if it still runs when the block ends.

    Its standard output is a pipe. Its standard input is a pipe with `feed`, otherwise the file
    descriptor `stdin`. It inherits the descriptors `pass_fds`. `source` names what it only reads;
    it then has a limit on its memory.
    """
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", "level+warning"),
        *arguments,
    ]
    with (
        tempfile.TemporaryFile() as log,  # a pipe that nobody reads would block ffmpeg
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=pass_fds,
        ) as process,
    ):
        try:
            if source is not None and hasattr(resource, "prlimit"):  # Linux
                _limit_memory(process.pid)
            yield Run(process, log, source)
        finally:
            if process.poll() is None:
                process.kill()


def _limit_memory(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended; a stricter limit is set
        resource.prlimit(process, resource.RLIMIT_DATA, (_MAX_READER_BYTES, _MAX_READER_BYTES))
