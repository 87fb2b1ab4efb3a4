"""The one error that a user can mend: bad input, named with its mend, without a traceback."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from outside: a file, an option or a config.

    The message is one line that names what is at fault, the problem and the mend. Command-line
    doors print it and exit with code 2.
    """


def unknown_name_error(
    option: str, given: str, known: Iterable[str], known_as: str = "Known:"
) -> InputError:
    """Return the error about a name that is none of `known`, with the nearest of them.

    `known_as` leads in the list of those there are.
    """
    names = list(known)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.0)[0]
    return InputError(
        f"{option} {given}: unknown: did you mean {nearest}? {known_as} {', '.join(names)}"
    )


class KilledError(InputError):
    """A program at work was killed, as for want of memory: that is no fault of the file it read."""


class DecodeError(InputError):
    """A source that cannot be decoded, where a place that cannot be written is another matter."""
