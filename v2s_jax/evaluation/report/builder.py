"""What a command shows: printed as it comes, and kept in that order for a page."""

from dataclasses import replace
from pathlib import Path

from v2s_jax.evaluation.report.table import Table
from v2s_jax.evaluation.sounds_part import ModelSounds


class ReportBuilder:
    """Tables, pictures and sounds, by section and in the order in which they were made."""

    def __init__(self, data: str) -> None:
        self.data = data
        """What the numbers are of, to be read in the title of every table."""
        self.sections: dict[str, list[Table | Path]] = {}
        self.sounds: list[ModelSounds] = []

    def begin(self, name: str) -> None:
        """Begin a section."""
        self._section = self.sections[name] = []

    def tables(self, *tables: Table) -> None:
        """Print tables and keep them."""
        for table in tables:
            titled = replace(table, title=f"{self.data}: {table.title}")
            print(f"\n{titled.as_text()}")
            self._section.append(titled)

    def picture(self, path: Path) -> None:
        """Keep a picture that was written."""
        self._section.append(path)

    def hear(self, sounds: ModelSounds) -> None:
        """Keep what a model made of the clips that are shown."""
        self.sounds.append(sounds)
