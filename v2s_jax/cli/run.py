"""How every command ends: with exit code 0, or one line about the user's error, or by Ctrl-C."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from v2s_jax.errors import InputError, printable, reason

BAD_INPUT_CODE = 2  # as argument parsers exit
INTERRUPTED_CODE = 128 + signal.SIGINT  # as shells report a signal
BROKEN_PIPE_CODE = 128 + signal.SIGPIPE
STANDARD_DESCRIPTORS = (0, 1, 2)


def run_cli(main: Callable[[], None]) -> NoReturn:
    """Run a command and exit: 0 on success, 2 for bad input, 130 for Ctrl-C.

    Bad input is one line on stderr, and so is what the system says about a path, or about standard
    output. If the reader of that has gone, the command ends without a word, as others do. Any other
    exception is a bug and keeps its traceback.
    """
    _on_interrupt(_interrupt)
    _open_standard_streams()
    try:
        code = _exit_code(main)
        sys.stdout.flush()
    except _StdoutError as error:
        code = _end_of_stdout(error.reason)
    sys.exit(code)


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once, in a block that has nothing to clean up.

    Modules that are being imported, and code that the interpreter calls back, swallow a
    KeyboardInterrupt or print it with a traceback.
    """
    _on_interrupt(_stop)
    try:
        yield
    finally:
        _on_interrupt(_interrupt)


def _exit_code(main: Callable[[], None]) -> int | str | None:
    try:
        main()
    except SystemExit as end:
        return end.code
    except InputError as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return BAD_INPUT_CODE
    except OSError as error:
        if not isinstance(error.filename, str | bytes):
            raise
        path = printable(os.fsdecode(error.filename))
        print(f"error: {path}: cannot be used ({error.strerror}): check it", file=sys.stderr)
        return BAD_INPUT_CODE
    except KeyboardInterrupt:
        _on_interrupt(_stop_silently)
        print("stopped", file=sys.stderr)
        return INTERRUPTED_CODE
    return 0


def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Unwind the command; a second Ctrl-C does not wait for that."""
    _on_interrupt(_stop)
    raise KeyboardInterrupt


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(INTERRUPTED_CODE)


def _stop_silently(signum: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED_CODE)


def _open_standard_streams() -> None:
    """Replace closed standard streams, and let open ones write any name.

    The next file that is opened would get the number of a closed one, and with it what other
    programs and libraries print.
    """
    for descriptor in STANDARD_DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    if isinstance(sys.__stdout__, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _rewrap(_Stdout, sys.__stdout__)
    if isinstance(sys.__stderr__, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _rewrap(_Stderr, sys.__stderr__)


class _StdoutError(Exception):
    """Standard output cannot be written."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


class _Stdout(io.TextIOWrapper):
    """Standard output, whose errors cannot be taken for those of another file."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _StdoutError(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _StdoutError(error) from error


class _Stderr(io.TextIOWrapper):
    """Standard error. When it cannot be written there is nobody to tell, and the work goes on."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _rewrap(kind: type[io.TextIOWrapper], stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream of another class, which can write any name in any encoding."""
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _end_of_stdout(error: OSError) -> int:
    """Return the exit code, and keep the interpreter from writing to standard output again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_CODE
    print(
        f"error: standard output: cannot be written ({reason(error)}): write elsewhere",
        file=sys.stderr,
    )
    return BAD_INPUT_CODE
