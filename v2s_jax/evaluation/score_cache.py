"""Scores kept on disk as they are made, so that a stopped run resumes where it was.

A file of JSON lines: first what the scores depend on, then one line for each key and its values.
Lines are only appended; a truncated last line is written again.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, check_writable, wrap_read_errors
from v2s_jax.json_text import parse_json


class ScoreCache:
    """Values by key. `identity` is what they depend on; a file with another identity is refused."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._values: dict[str, list[float]] = {}
        header = json.dumps(identity)
        check_writable(path.parent)
        lines = self._read() if path.exists() else []
        if lines and lines[0] != header:
            stored = parse_json(lines[0])
            names = [name for name in identity if stored.get(name) != identity[name]]
            raise InputError(
                f"{path}: scores of other {', '.join(names)}: choose another --out, or remove the "
                "file to compute the scores again"
            )
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in [header, *lines[1:]]))

    def _read(self) -> list[str]:
        """Load the values of the complete lines; return those lines, the header first."""
        with wrap_read_errors(self.path):
            content = self.path.read_bytes()
        try:
            lines = content.decode().split("\n")[:-1]
            if lines and not isinstance(parse_json(lines[0]), dict):
                raise ValueError(lines[0])
            self._values = dict(map(_parse_line, lines[1:]))
        except ValueError as error:
            raise InputError(
                f"{self.path}: corrupt: remove it to compute the scores again"
            ) from error
        return lines

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> list[float]:
        return self._values[key]

    def add(self, key: str, values: Sequence[float]) -> None:
        """Append values; they are in the file when this returns.

        Raises InputError for a value that is not finite, and when the file cannot be written.
        """
        if not all(map(math.isfinite, values)):
            raise InputError(
                f"{key}: its score is not a finite number: the model's parameters are corrupt, or "
                "training diverged"
            )
        self._values[key] = list(values)
        try:
            with self.path.open("a") as file:
                file.write(json.dumps([key, self._values[key]]) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}): free space, then rerun the "
                "same command to resume"
            ) from error


def _parse_line(line: str) -> tuple[str, list[float]]:
    """Return a key and its numbers; raise ValueError for anything else."""
    match parse_json(line):
        case [str(key), list(values)] if all(isinstance(value, int | float) for value in values):
            return key, values
    raise ValueError(line)
