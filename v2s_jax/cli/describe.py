"""`v2s sample --describe FILE`: how a sound was generated, and the command that does it again."""

import os
import shlex
from dataclasses import asdict
from pathlib import Path

from v2s_jax.errors import printable
from v2s_jax.sonification.provenance import Provenance, read_provenance

AGAIN = Path("again")
"""Output folder of the printed command."""
_NOT_OPTIONS = ("software", "variant", "stream")
"""Fields of the mark that are no options with a value; neither are hashes."""
_FILES = ("checkpoint", "video", "controls", "prefix", "vgg19_weights", "motion_weights")


def describe(path: Path) -> str:
    """Return what a file's mark of origin says, as lines for a terminal.

    Raises InputError when the file cannot be read or has no mark.
    """
    provenance = read_provenance(path)
    stated = {name: value for name, value in asdict(provenance).items() if value is not None}
    width = max(map(len, stated))
    return "\n".join(
        [
            f"{printable(path)}: its sound is generated, not recorded",
            *(f"  {name:{width}}  {printable(value)}" for name, value in stated.items()),
            "the same again, in a folder with the files above and on the same kind of machine:",
            f"  {command(provenance)}",
        ]
    )


def command(provenance: Provenance) -> str:
    """Return the line for a shell that generates the same sound."""
    words = ["v2s", "sample"]
    for name, value in asdict(provenance).items():
        if value is None or name in _NOT_OPTIONS or name.endswith("_sha256"):
            continue
        word = str(value)
        if name in _FILES and word.startswith("-") and word != "-":
            word = f"./{word}"  # it is no option
        words += [f"--{name.replace('_', '-')}", word]
    out = AGAIN
    if provenance.stream:
        words.append("--stream")
        out = AGAIN.with_suffix(".wav")
    return " ".join([*map(quote, words), "--out", str(out)])


def quote(word: str) -> str:
    """Quote a word for bash, with characters that a terminal would obey as escapes."""
    if printable(word) == word:
        return shlex.quote(word)
    escaped = (
        char if char not in "\\'" and printable(char) == char else _escape_bytes(char)
        for char in word
    )
    return f"$'{''.join(escaped)}'"


def _escape_bytes(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
