"""Make a data set: clips, features, TFRecord shards.

    python -m data.prepare synthetic --preset tiny --out DIR

leaves DIR/clips/CATEGORY/CLIP.mp4 with a .json beside each (category, event times), and the TFDS
folder DIR/synthetic_tiny/1.0.0, which training opens. Run again, it takes up where it stopped.

    python -m data.prepare folder VIDEOS --out DIR

makes a data set of videos in class folders (docs/data.md), DIR/vegas/1.0.0, and

    python -m data.prepare stats DIR/vegas

tells how many clips of which length it holds.
"""

import sys
from functools import partial

import tyro

from v2s_jax.commands.door import run_door
from v2s_jax.commands.words import read_words
from v2s_jax.errors import InputError
from v2s_jax.place import as_called, called

from .folder import FolderArgs
from .stats import StatsArgs
from .synthetic.command import SyntheticArgs

app = tyro.extras.SubcommandApp()
app.command(name="synthetic")(SyntheticArgs)
app.command(name="folder")(FolderArgs)
app.command(name="stats")(StatsArgs)


def main() -> None:
    """Make the data set that the command line names, or tell of one."""
    words, beam_words = _parted(sys.argv[1:])
    parser = partial(app.cli, args=words)
    args: SyntheticArgs | FolderArgs | StatsArgs = read_words(
        parser, prog=called("prepare"), description=as_called(__doc__)
    )
    if isinstance(args, FolderArgs):
        args.run(beam_words)
        return
    if beam_words:
        raise InputError("words after -- are Beam's, which runs `folder` alone: leave them out")
    args.run()


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Part our words from Beam's, which follow a lone --."""
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


if __name__ == "__main__":
    run_door(main)
