"""CSV files that people open in a spreadsheet, or download from a page."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; the file appears when it is complete."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read some columns of a table, without surrounding spaces.

    Raises InputError when the file cannot be read, is not CSV, or lacks a column or a cell.
    """
    with wrap_read_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(csv.DictReader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): save it as CSV in UTF-8") from error
    if rows and (missing := [name for name in columns if name not in rows[0]]):
        raise InputError(f"{path}: has no column {', '.join(missing)}: keep the header")
    for line, row in enumerate(rows, 2):
        if any(row[name] is None for name in columns):
            raise InputError(f"{path}: line {line}: is cut off: give the complete file")
    return [{name: row[name].strip() for name in columns} for row in rows]
