"""What models are called where several stand beside each other."""

from collections.abc import Sequence
from pathlib import Path

from v2s_jax.checkpoints import BEST_PARAMS_FILE, PARAMS_FILE

OF_EACH_RUN = (PARAMS_FILE, BEST_PARAMS_FILE)
"""Files that have the same name in the --workdir of every run."""


def unique_model_name(path: Path, taken: Sequence[str]) -> str:
    """Name a model after its file or folder; files that each run writes, after the run too.

    A name that is taken gets a number.
    """
    whole = path.resolve()
    name = whole.name if whole.is_dir() else whole.stem
    if whole.name in OF_EACH_RUN:
        name = f"{whole.parent.name}-{name}"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
