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


def read_csv(
    path: Path, columns: Sequence[str], fix: str = "save it as CSV in UTF-8"
) -> list[tuple[str, list[str]]]:
    """Read some columns of a table: for each row its place, file and line, and its cells.

    Raises InputError when the file cannot be read, is not CSV, or lacks a column or a cell.
    """
    with wrap_read_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(csv.DictReader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): {fix}") from error
    if rows and (missing := [name for name in columns if name not in rows[0]]):
        raise InputError(f"{path}: has no column {', '.join(missing)}: keep the header")
    places = [f"{path}: line {line}" for line in range(2, len(rows) + 2)]
    for place, row in zip(places, rows, strict=True):
        if any(row[name] is None for name in columns):
            raise InputError(f"{place}: is cut off: give the complete file")
    cells = [[row[name] for name in columns] for row in rows]
    return list(zip(places, cells, strict=True))
