"""`python -m benchmarks`: measure speed and memory on this machine."""

from benchmarks.commands.main import main
from v2s_jax.cli.run import run_cli

if __name__ == "__main__":
    run_cli(main)
