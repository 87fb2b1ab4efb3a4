"""The key of a study: which sound each item's options are. The pages do not hold it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors

KEY_FILE = "key.json"

CHOICE, REAL_OR_FAKE = "choice", "real-or-fake"
"""The two pages."""

QUESTIONS: dict[str, dict[str, str]] = {
    CHOICE: {
        "correctness": "Which of these sounds most likely comes from what you see?",
        "noise": "Which of these sounds has the least irritating noise?",
        "synchronization": "Which of these sounds is best in time with what you see?",
        "overall": "Which of these sounds do you prefer, all in all?",
    },
    REAL_OR_FAKE: {"real": "Was this sound recorded with this video, or is it made up?"},
}
"""What people are asked on each page: the paper's four questions (its Table 3), and its test of
real or fake."""

REAL, FAKE = "real", "fake"
ORIGINAL, MISMATCHED = "original", "mismatched"
"""The controls of real or fake: a clip's own sound, and that of another clip of its category."""


@dataclass(frozen=True)
class Item:
    """One thing that is judged: a clip with one sound, or with one of each model."""

    item: str
    """Its name on the page, which tells nothing."""
    page: str
    clip: str
    category: str
    options: dict[str, str]
    """The model, or control, behind each option's name."""


@dataclass(frozen=True)
class Key:
    """Everything that a study's pages do not tell."""

    study: str
    """Drawn when the study was made; answers carry it."""
    models: list[str]
    items: list[Item]


def write_key(path: Path, key: Key) -> None:
    """Write the key as JSON; it appears when it is whole."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(key), indent=2) + "\n", encoding="utf-8")


def read_key(folder: Path) -> Key:
    """Return the key of a study's folder; raise InputError when it is none."""
    path = folder / KEY_FILE
    with wrap_read_errors(path):
        text = path.read_text(encoding="utf-8")
    try:
        fields = json.loads(text)
        items = [Item(**item) for item in fields["items"]]
        if pages := {item.page for item in items} - QUESTIONS.keys():
            raise ValueError(f"unknown pages {sorted(pages)}")
        return Key(fields["study"], fields["models"], items)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a study's key ({error}): make the study again") from error
