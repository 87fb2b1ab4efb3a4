"""Sound silent videos: see `python sample.py --help`."""

from v2s_jax.commands.door import run_door
from v2s_jax.commands.sample import main

if __name__ == "__main__":
    run_door(main)
