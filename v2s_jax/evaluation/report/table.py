"""A table of the evaluation as a value: the same one is printed and stands on the page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column names the rows, to the left; the others stand right."""

    title: str
    columns: Sequence[str] = ()
    """One for each cell of a row; none where a note alone says why there is no row."""
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    """What to know beside the numbers, a line each."""

    def as_text(self) -> str:
        """Return title, rows and notes as lines for a terminal."""
        rows = [aligned([self.columns, *self.rows])] if self.rows else []
        return "\n".join([self.title, *rows, *self.notes])

    def as_html(self) -> str:
        """Return a figure that holds title, table and notes; it scrolls where it is wide."""
        title = html.escape(self.title)
        notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in self.notes)
        if not self.rows:
            return f"<figure>\n<figcaption>{title}</figcaption>\n{notes}</figure>\n"
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{_cells(row)}</tr>\n" for row in self.rows)
        return (
            f"<figure>\n<figcaption>{title}</figcaption>\n"
            f'<div class="wide" role="region" aria-label="{title}" tabindex="0">\n<table>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
            f"{notes}</figure>\n"
        )


def _cells(row: Sequence[str]) -> str:
    name, *others = map(html.escape, row)
    return f'<th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in others)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        GAP.join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
