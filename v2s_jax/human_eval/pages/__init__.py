"""Pages that need nothing else: data and media lie in them, answers stay in the browser.

A template names its title as `{{title}}`, its data (JSON) as `{{data}}`, and `{{answers}}` where
the functions of answers.js go: what a page keeps, and how answers become a CSV file. `{{style}}` is
the look that such pages share, `{{content}}` what is HTML already and can be read without scripts.
"""

import base64
import csv
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors

ANSWERS = Path(__file__).with_name("answers.js")
STYLE = Path(__file__).with_name("answers.css")
PLACE = re.compile(r"\{\{(title|style|answers|data|content)\}\}")


def write_page(
    path: Path,
    template: Path,
    data: dict[str, Any],
    title: str | None = None,
    content: str = "",
) -> None:
    """Write a page; it appears when it is whole. Its title is its name unless one is given."""
    # "</script>" in a name must not end the script.
    written = json.dumps(data).replace("<", "\\u003c")
    parts = {
        "title": html.escape(title or path.stem),
        "style": STYLE.read_text(encoding="utf-8"),
        "answers": ANSWERS.read_text(encoding="utf-8"),
        "data": written,
        "content": content,
    }
    # All at once: what is put in may itself hold such names.
    page = PLACE.sub(lambda place: parts[place[1]], template.read_text(encoding="utf-8"))
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_url(path: Path, media_type: str) -> str:
    """Return a file as a URL that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def read_given(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that a page gave out, stripped.

    Raises InputError when it cannot be read, is no CSV, lacks a column, or is cut off.
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
            raise InputError(f"{path}: line {line}: is cut off: give the whole file")
    return [{name: row[name].strip() for name in columns} for row in rows]
