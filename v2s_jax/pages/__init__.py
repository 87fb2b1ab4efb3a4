"""Pages that need nothing else: data and media lie in them, answers stay in the browser.

A template names its title as `{{title}}`, its data (JSON) as `{{data}}`, and `{{answers}}` where
the functions of answers.js go: what a page keeps, and how answers become a CSV file. `{{style}}` is
the look that such pages share.
"""

import base64
import csv
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2s_jax.errors import InputError
from v2s_jax.files import reading, whole_file

ANSWERS = Path(__file__).with_name("answers.js")
STYLE = Path(__file__).with_name("answers.css")


def write_page(path: Path, template: Path, data: dict[str, Any]) -> None:
    """Write a page; it appears when it is whole. Its title is its name."""
    # "</script>" in a name must not end the script.
    written = json.dumps(data).replace("<", "\\u003c")
    page = template.read_text(encoding="utf-8")
    page = page.replace("{{title}}", html.escape(path.stem))
    page = page.replace("{{style}}", STYLE.read_text(encoding="utf-8"))
    page = page.replace("{{answers}}", ANSWERS.read_text(encoding="utf-8"))
    page = page.replace("{{data}}", written)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_url(path: Path, media_type: str) -> str:
    """Return a file as a URL that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def read_given(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that a page gave out, stripped; a cell that lacks is empty.

    Raises InputError when it cannot be read, is no CSV, or lacks a column.
    """
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: not CSV ({error}): save it as CSV in UTF-8") from error
    if rows and (missing := [name for name in columns if name not in rows[0]]):
        raise InputError(f"{path}: has no column {', '.join(missing)}: keep the header")
    return [{name: (row[name] or "").strip() for name in columns} for row in rows]
