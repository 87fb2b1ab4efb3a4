"""Where the program lies, in a checkout of its source or installed, and how its doors are called.

In a checkout they are scripts and modules, `python sample.py` and `python -m data.prepare`; where
the package is installed they are words of one command, `v2s sample` and `v2s prepare`, and the
folder `data` is the package `v2s_jax_data`.
"""

import re
import shlex
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent
"""The checkout, or the folder that packages are installed in."""
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file() and (ROOT / "sample.py").is_file()
DATA_PACKAGE = "data" if IN_CHECKOUT else "v2s_jax_data"
"""What `data/` is imported as."""
EXAMPLE = (ROOT if IN_CHECKOUT else PACKAGE) / "examples" / "drum.mp4"
"""The video that ships."""

COMMAND = "v2s"
DOORS = {
    "sample": "sample.py",
    "demo": "demo.py",
    "prepare": "python -m data.prepare",
    "annotate": "python -m data.annotate",
    "train": "train.py",
    "evaluate": "evaluate.py",
    "benchmark": "benchmark.py",
    "doctor": "python -m v2s_jax.doctor",
    "build": "python -m v2s_jax.kernels.build",
}
"""Each door, and what it is called in a checkout."""


def called(words: str) -> str:
    """Return what a door, and words that follow it, are called here.

    `prepare synthetic` is `python -m data.prepare synthetic`, or `v2s prepare synthetic`.
    """
    door, space, rest = words.partition(" ")
    name = DOORS[door] if IN_CHECKOUT else f"{COMMAND} {door}"
    return f"{name}{space}{rest}"


def as_called(text: str | None) -> str | None:
    """Return a text of ours, in which doors are called as in a checkout, as it is true here."""
    if IN_CHECKOUT or text is None:
        return text
    for door, name in DOORS.items():
        bare = re.escape(name.removeprefix("python -m "))
        text = re.sub(rf"(python (-m )?)?\b{bare}(?!\w)", called(door), text)
    return text


def typed(words: str) -> str:
    """Return what a user types to open a door: as `called` has it, after `python`."""
    name = called(words)
    return f"python {name}" if IN_CHECKOUT and not name.startswith("python ") else name


def demo_words() -> str:
    """Return the words for `sample` that sound the video that ships."""
    example = EXAMPLE
    if example.is_relative_to(Path.cwd()):
        example = example.relative_to(Path.cwd())
    return f"--video {shlex.quote(str(example))} --out out/demo"
