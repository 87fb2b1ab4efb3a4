"""Make a data set: clips, features, TFRecord shards.

    python -m data.prepare synthetic --preset tiny --out DIR

leaves DIR/clips/CATEGORY/CLIP.mp4 with a .json beside each (category, event times), and the TFDS
folder DIR/synthetic_tiny/1.0.0, which training opens. Run again, it takes up where it stopped.

    python -m data.prepare baselines --data DIR

tells what its sounds cost models that see nothing, beside what they cost one who knows all.
"""

import tyro

from data.synthetic.command import SyntheticArgs, make_synthetic
from v2s_jax.commands.door import run_door
from v2s_jax.commands.words import read_words

__all__ = ["main", "make_synthetic"]

app = tyro.extras.SubcommandApp()
app.command(name="synthetic")(SyntheticArgs)


def main() -> None:
    """Make the data set that the command line names, or tell of one."""
    args: SyntheticArgs = read_words(app.cli, prog="python -m data.prepare", description=__doc__)
    args.run()


if __name__ == "__main__":
    run_door(main)
