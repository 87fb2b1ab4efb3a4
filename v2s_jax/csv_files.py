"""CSV files that people open in a spreadsheet, or download from a page.

A spreadsheet runs a cell that begins like a formula. Such a cell is written with an apostrophe in
front, which is taken off again when it is read; web_pages' questionnaires do the same.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""A cell that a spreadsheet may run (OWASP, CSV injection), with apostrophes before it or not."""


def escape_cell(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet could run; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """Undo `escape_cell`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; the file appears when it is complete."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)  # with RFC 4180's line ends: then "\r" in a cell is quoted, too
        writer.writerow(header)
        writer.writerows([escape_cell(cell) for cell in row] for row in rows)


def read_csv(
    path: Path, columns: Sequence[str], fix: str = "save it as CSV in UTF-8"
) -> list[tuple[str, list[str]]]:
    """Read some columns of a table: for each row its place, file and line, and its cells.

    Raises InputError when the file cannot be read, is not CSV, lacks a column or a cell, or has a
    column twice.
    """
    with wrap_read_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or ())
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): {fix}") from error
    check_header(path, header)
    if rows and (missing := [name for name in columns if name not in rows[0]]):
        raise InputError(f"{path}: has no column {', '.join(missing)}: keep the header")
    places = [f"{path}: line {line}" for line in range(2, len(rows) + 2)]
    for place, row in zip(places, rows, strict=True):
        if any(row[name] is None for name in columns):
            raise InputError(f"{place}: is cut off: give the complete file")
        if None in row:  # the key of what is beyond the header
            raise InputError(f"{place}: has more cells than the header: keep both as they were")
    cells = [[unescape_cell(row[name]) for name in columns] for row in rows]
    return list(zip(places, cells, strict=True))


def check_header(path: object, header: Sequence[str]) -> None:
    """Raise InputError if a column is there twice: it is not clear which one counts."""
    if doubled := [name for name, count in Counter(header).items() if name and count > 1]:
        raise InputError(f"{path}: has the column {doubled[0]!r} twice: remove one of them")
