"""Train a model: see `python train.py --help`."""

from data.doors import train
from v2s_jax.commands.door import run_door

if __name__ == "__main__":
    run_door(train)
