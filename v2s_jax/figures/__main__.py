"""The process of `FigureProcess`: reads what to draw from stdin, and writes errors to stdout."""

import os
import pickle
import sys

from v2s_jax.figures.key_frames import key_frame_figure


def main() -> None:
    """Draw figures until stdin ends, or nobody waits for them any more."""
    while True:
        try:
            picture = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            return
        error: Exception | None = None
        try:
            key_frame_figure(**picture)
        except Exception as found:  # the other process says which video it concerns
            error = found
        try:
            pickle.dump(error, sys.stdout.buffer)
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(0)  # the interpreter's own end would write once more


if __name__ == "__main__":
    main()
