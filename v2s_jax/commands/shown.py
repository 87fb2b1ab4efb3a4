"""What a command shows: printed as it comes, and kept in that order for a page."""

from pathlib import Path

from v2s_jax.evaluation.sounds_part import ModelSounds
from v2s_jax.evaluation.table import Table


class Shown:
    """Tables, pictures and sounds, by section and in the order in which they were made."""

    def __init__(self) -> None:
        self.sections: dict[str, list[Table | Path]] = {}
        self.sounds: list[ModelSounds] = []

    def begin(self, name: str) -> None:
        """Begin a section."""
        print()
        self._section = self.sections[name] = []

    def tables(self, *tables: Table) -> None:
        """Print tables and keep them."""
        for table in tables:
            print(table.as_text())
        self._section += tables

    def picture(self, path: Path) -> None:
        """Keep a picture that was written."""
        self._section.append(path)

    def hear(self, sounds: ModelSounds) -> None:
        """Keep what a model made of the clips that are shown."""
        self.sounds.append(sounds)
