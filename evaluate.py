"""Measure a checkpoint: see `python evaluate.py --help`."""

from v2s_jax.commands.door import run_door
from v2s_jax.commands.evaluate import main

if __name__ == "__main__":
    run_door(main)
