"""Errors that the user can fix: bad input, reported in one line without a traceback."""

import difflib
import importlib.util
import unicodedata
from collections.abc import Iterable

MAX_REASON_CHARS = 200


class InputError(Exception):
    """Bad input: a file, an option or a config.

    The message is one line that names the input, the problem and the fix. Commands print it and
    exit with code 2.
    """


def unknown_name_error(
    option: str, given: str, known: Iterable[str], known_as: str = "Known:"
) -> InputError:
    """Return the error for a name that is not in `known`, with the nearest one and all of them."""
    names = list(known)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.0)[0]
    return InputError(
        f"{option} {given}: unknown: did you mean {nearest}? {known_as} {', '.join(names)}"
    )


def printable(text: object) -> str:
    """Return text as one line that a terminal shows as it is.

    Names of files may contain anything: control characters, which change what the terminal shows,
    are escaped, and so are bytes that are not text.
    """
    return "".join(char if _is_shown(char) else _escape(char) for char in str(text))


def _is_shown(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"  # spaces of any width


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python holds a byte that is not text
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def reason(error: Exception) -> str:
    """Return an error's message in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)[:MAX_REASON_CHARS]


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, which names files where `reason` does not."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def write_error(path: object, reason: object) -> InputError:
    """Return the error for a file or folder that cannot be written."""
    return InputError(f"{path}: cannot be written ({reason}): free space or choose another folder")


def file_error(path: object, error: Exception) -> str:
    """Return the line about a file that could not be processed, whatever was raised.

    One file must not end the work on the others: it may claim a length that no memory holds.
    """
    if isinstance(error, InputError):
        return str(error)
    problem = f"{type(error).__name__}: {first_line(error)[:MAX_REASON_CHARS]}"
    return f"{path}: cannot be processed ({problem}): leave this file out"


class KilledError(InputError):
    """A program was killed, for example because memory ran out; its input may be fine."""


class DecodeError(InputError):
    """A file that cannot be decoded."""


def require_extra(extra: str, *modules: str) -> None:
    """Raise InputError unless `modules`, which the optional dependency `extra` brings, are there.

    Args:
        extra: Name of the extra in pyproject.toml, such as `eval`.
        modules: Import names of the packages that the caller is about to import.

    Raises:
        InputError: A module is missing. The message says which `pip install` brings it.
    """
    missing = [name for name in modules if not is_installed(name)]
    if missing:
        raise InputError(f"{', '.join(missing)}: not installed: pip install 'v2s_jax[{extra}]'")


def is_installed(module: str) -> bool:
    """Say whether `module` can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
