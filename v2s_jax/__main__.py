"""`python -m v2s_jax` is the `v2s` command."""

from v2s_jax.cli.main import main

main()
