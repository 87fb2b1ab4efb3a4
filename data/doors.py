"""The `v2s` command: every door of the program under one name.

It stands here because here both the package and what makes data sets may be imported. A door is
imported when it is opened: the processes that make clips read the file that was started, and need
nothing of it.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from v2s_jax import __version__
from v2s_jax.commands.door import run_door
from v2s_jax.errors import unknown
from v2s_jax.place import COMMAND, demo_words


class Door(NamedTuple):
    """One door."""

    told: str
    """What is behind it, in a line."""
    main: Callable[[], None]


def open_synthetic(*given: Any) -> Any:
    """Open the clips of `--data synthetic:PRESET`; imports the generator only for these."""
    from .synthetic.direct import open_direct

    return open_direct(*given)


def train() -> None:
    """Train on shards, or on clips that are made meanwhile."""
    from v2s_jax.commands.train import main

    main({"synthetic": open_synthetic})


def _sample() -> None:
    from v2s_jax.commands.sample import main

    main()


def _demo() -> None:
    from v2s_jax.commands.demo import main

    main()


def _prepare() -> None:
    from .prepare import main

    main()


def _annotate() -> None:
    from .annotate import main

    main()


def _evaluate() -> None:
    from v2s_jax.commands.evaluate import main

    main()


def _benchmark() -> None:
    from v2s_jax.commands.benchmark import main

    main()


def _doctor() -> None:
    from v2s_jax.doctor import main

    main()


def _build() -> None:
    from v2s_jax.kernels.build import main

    main()


DOORS = {
    "sample": Door("sound silent videos", _sample),
    "demo": Door("the same on a local web page", _demo),
    "prepare": Door("make a data set: of generated clips, or of your videos", _prepare),
    "annotate": Door("clean raw clips by votes on sound and picture", _annotate),
    "train": Door("train a model on a data set", train),
    "evaluate": Door("measure models on held-out clips, or ask people", _evaluate),
    "benchmark": Door("measure speed and memory on this machine", _benchmark),
    "doctor": Door("what this machine lacks, and the mend", _doctor),
    "build": Door("build the C++ engine, once", _build),
}


def overview() -> str:
    """Return what the command tells of itself."""
    width = max(map(len, DOORS))
    doors = "\n".join(f"  {name:{width}}  {door.told}" for name, door in DOORS.items())
    return (
        f"usage: {COMMAND} DOOR ...\n\n{doors}\n\n"
        f"{COMMAND} DOOR --help tells of its words; to begin with:\n\n"
        f"  {COMMAND} sample {demo_words()}"
    )


def open_door() -> None:
    """Open the door that the first word names, with the words that follow."""
    match sys.argv[1:]:
        case [] | ["-h" | "--help", *_]:
            print(overview())
        case ["--version", *_]:
            print(__version__)
        case [name, *_] if name in DOORS:
            del sys.argv[1]
            DOORS[name].main()
        case [name, *_]:
            raise unknown(COMMAND, name, DOORS)


def main() -> NoReturn:
    """Be the `v2s` command."""
    run_door(open_door)


if __name__ == "__main__":
    main()
