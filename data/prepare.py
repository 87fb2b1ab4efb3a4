"""Build a dataset: `python data/prepare.py` is `v2s prepare`."""

from v2s_jax.cli.prepare import main
from v2s_jax.cli.run import run_cli

if __name__ == "__main__":
    run_cli(main)
