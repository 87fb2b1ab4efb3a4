"""The process of `FigureProcess`: reads what to draw from stdin, and writes errors to stdout."""

import pickle
import sys

from v2s_jax.errors import InputError
from v2s_jax.figures.key_frames import key_frame_figure


def main() -> None:
    """Draw figures until stdin ends."""
    while True:
        try:
            picture = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        error = None
        try:
            key_frame_figure(**picture)
        except InputError as found:
            error = found
        pickle.dump(error, sys.stdout.buffer)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
