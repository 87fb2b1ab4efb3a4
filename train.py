"""Train a model: see `python train.py --help`."""

from v2s_jax.commands.door import run_door
from v2s_jax.commands.train import main

if __name__ == "__main__":
    run_door(main)
