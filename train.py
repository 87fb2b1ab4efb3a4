"""Train a model: `python train.py` is `v2s train`."""

from v2s_jax.cli.main import run_subcommand

if __name__ == "__main__":
    run_subcommand("train")
