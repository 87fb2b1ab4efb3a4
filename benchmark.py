"""Measure speed and memory: see `python benchmark.py --help`."""

from v2s_jax.commands.benchmark import main
from v2s_jax.commands.door import run_door

if __name__ == "__main__":
    run_door(main)
