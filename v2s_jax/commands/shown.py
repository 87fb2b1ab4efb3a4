"""What a command shows: printed as it comes, and kept in that order for a page."""

from dataclasses import replace
from pathlib import Path

from v2s_jax.evaluation.table import Table


class Shown:
    """Tables and pictures, in the order in which they were made."""

    def __init__(self, data: str) -> None:
        self.data = data
        """What the numbers are of, to be read in the title of every table."""
        self.items: list[Table | Path] = []

    def tables(self, *tables: Table) -> None:
        """Print tables and keep them."""
        for table in tables:
            titled = replace(table, title=f"{self.data}: {table.title}")
            print(f"\n{titled.as_text()}")
            self.items.append(titled)

    def picture(self, path: Path) -> None:
        """Keep a picture that was written."""
        self.items.append(path)
