"""Generate sound for silent videos: `python sample.py` is `v2s sample`."""

from v2s_jax.cli.run import run_cli
from v2s_jax.cli.sample import main

if __name__ == "__main__":
    run_cli(main)
