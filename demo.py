"""Try it in a browser: see `python demo.py --help`."""

from v2s_jax.commands.demo import main
from v2s_jax.commands.door import run_door

if __name__ == "__main__":
    run_door(main)
