"""Scores kept on disk as they are made, so that a run that was ended goes on where it was.

A file of JSON lines: first what the scores depend on, then one line for each key and its values.
Lines are only added; one that was cut off is written again.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, check_writable, wrap_read_errors


class ScoreCache:
    """Values by key. `identity` is what they depend on: scores of anything else are refused."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._values: dict[str, list[float]] = {}
        header = json.dumps(identity)
        check_writable(path.parent)
        lines = self._read() if path.exists() else []
        if lines and lines[0] != header:
            raise InputError(
                f"{path}: scores of {_differing(lines[0], identity)}: choose another --out, or "
                "remove the file to score anew"
            )
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in [header, *lines[1:]]))

    def _read(self) -> list[str]:
        """Take the values of the lines that are whole; return those lines, the header first."""
        with wrap_read_errors(self.path):
            content = self.path.read_bytes()
        try:
            lines = content.decode().split("\n")[:-1]
            for header in lines[:1]:
                json.loads(header)
            self._values = dict(map(_key_and_numbers, lines[1:]))
        except ValueError as error:
            raise InputError(f"{self.path}: damaged: remove it to score anew") from error
        return lines

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> list[float]:
        return self._values[key]

    def add(self, key: str, values: Sequence[float]) -> None:
        """Keep values; they are on disk when this returns.

        Raises InputError for a value that is not finite, and when the disk does not take them.
        """
        if not all(map(math.isfinite, values)):
            raise InputError(
                f"{key}: its score is not a finite number: the model's parameters are damaged, or "
                "training diverged"
            )
        self._values[key] = list(values)
        try:
            with self.path.open("a") as file:
                file.write(json.dumps([key, self._values[key]]) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}): free space; the same words "
                "go on from what is there"
            ) from error


def _key_and_numbers(line: str) -> tuple[str, list[float]]:
    """Read a line; raise ValueError unless it holds a key and its numbers."""
    match json.loads(line):
        case [str(key), list(values)] if all(isinstance(value, int | float) for value in values):
            return key, values
    raise ValueError(line)


def _differing(header: str, identity: dict[str, Any]) -> str:
    """Tell in words what other scores depend on."""
    found = json.loads(header)
    if not isinstance(found, dict):
        return "another program"
    names = [name for name in identity if found.get(name) != identity[name]]
    return f"other {', '.join(names) or 'settings'}"
