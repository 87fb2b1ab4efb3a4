"""What a command shows: printed as it comes, and kept in that order for a page."""

from pathlib import Path

from v2s_jax.evaluation.table import Table


class Shown:
    """Tables and pictures, in the order in which they were made."""

    def __init__(self) -> None:
        self.items: list[Table | Path] = []

    def tables(self, *tables: Table) -> None:
        """Print tables and keep them."""
        for table in tables:
            print(table.as_text())
        self.items += tables

    def picture(self, path: Path) -> None:
        """Keep a picture that was written."""
        self.items.append(path)
