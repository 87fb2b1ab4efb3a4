"""Build a dataset: `python data/prepare.py` is `v2s prepare`."""

from v2s_jax.cli.main import run_subcommand

if __name__ == "__main__":
    run_subcommand("prepare")
