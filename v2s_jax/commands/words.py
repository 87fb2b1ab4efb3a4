"""Reading a command line: what the parser says about bad words becomes one line."""

import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import TypeVar

from v2s_jax.commands.door import BAD_INPUT_CODE
from v2s_jax.errors import InputError

Args = TypeVar("Args")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BORDER = "│"
_RULE = re.compile(r"[─-]{3,}")  # hyphens where the terminal has ASCII only, and no box
_CORNERS = ("╭", "╰")
_HELP_OF_OPTION = "Argument helptext:"
_SIMILAR = ("Perhaps you meant:", "Arguments similar to")
_SIMILAR_SHOWN = 3  # tyro names up to ten, each with its help
_WHERE_HELP_IS = re.compile(r"For full helptext, (?:see|run):? ")


def read_words(parse: Callable[..., Args], *, prog: str, description: str | None) -> Args:
    """Return what `parse`, a tyro parser, makes of the command line.

    Help is printed as tyro does it, and ends the program. Raises InputError with tyro's own text,
    in one line, for words that are unknown, missing or out of range.
    """
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            return parse(prog=prog, description=description)
    except SystemExit as ended:
        if ended.code != BAD_INPUT_CODE:
            raise
        problem = _one_line(told.getvalue())
        told.truncate(0)
        raise InputError(problem) from None
    finally:
        sys.stderr.write(told.getvalue())  # warnings, say


def _one_line(boxed: str) -> str:
    """Return the text of tyro's box: its parts, parted by rules, joined by semicolons."""
    parts: list[list[str]] = [[]]
    for line in _COLOUR.sub("", boxed).splitlines():
        if line.startswith(_CORNERS):
            continue
        text = line.strip(_BORDER + " ")
        if _RULE.fullmatch(text):
            parts.append([])
        else:
            parts[-1].append(text)
    texts = (_joined(part) for part in parts if part and part[0] != _HELP_OF_OPTION)
    return "; ".join(_WHERE_HELP_IS.sub("see ", text) for text in texts)


def _joined(part: list[str]) -> str:
    """Join the lines of a part; of options like the one that was given, keep the names."""
    if part[0].startswith(_SIMILAR):
        names = dict.fromkeys(line.split()[0] for line in part if line.startswith("--"))
        part = [part[0], ", ".join(list(names)[:_SIMILAR_SHOWN])]
    return " ".join(" ".join(part).split())
