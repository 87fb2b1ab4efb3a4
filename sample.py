"""Generate sound for silent videos: `python sample.py` is `v2s sample`."""

from v2s_jax.cli.main import run_subcommand

if __name__ == "__main__":
    run_subcommand("sample")
