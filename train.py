"""Train a model: `python train.py` is `v2s train`."""

from v2s_jax.cli.run import run_cli
from v2s_jax.cli.train import main

if __name__ == "__main__":
    run_cli(main)
