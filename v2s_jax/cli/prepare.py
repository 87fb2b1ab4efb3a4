"""Make a data set: clips, features, TFRecord shards.

    v2s prepare synthetic --preset tiny --out DIR

leaves DIR/clips/CATEGORY/CLIP.mp4 with a .json beside each (category, event times), and the TFDS
folder DIR/synthetic_tiny/1.0.0, which training opens. Run again, it takes up where it stopped.

    v2s prepare folder VIDEOS --out DIR

makes a data set of videos in class folders (docs/data.md), DIR/vegas/1.0.0, and

    v2s prepare stats DIR/vegas

tells how many clips of which length it holds.
"""

import sys

import tyro

from v2s_jax.cli.prepare_folder import FolderArgs
from v2s_jax.datasets.folders.stats import StatsArgs
from v2s_jax.datasets.synthetic.command import SyntheticArgs
from v2s_jax.errors import InputError

app = tyro.extras.SubcommandApp()
app.command(name="synthetic")(SyntheticArgs)
app.command(name="folder")(FolderArgs)
app.command(name="stats")(StatsArgs)


def main() -> None:
    """Make the data set that the command line names, or tell of one."""
    words, beam_words = _parted(sys.argv[1:])
    args: SyntheticArgs | FolderArgs | StatsArgs = app.cli(
        args=words, prog="v2s prepare", description=__doc__
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
