"""Train a model: see `python train.py --help`."""

from typing import Any


def open_synthetic(*given: Any) -> Any:
    """Open the clips of `--data synthetic:PRESET`; imports the generator only for these."""
    from data.synthetic.direct import open_direct

    return open_direct(*given)


if __name__ == "__main__":
    # Here, since the processes that make those clips read this file too, and need none of it.
    from v2s_jax.commands.door import run_door
    from v2s_jax.commands.train import main

    run_door(lambda: main({"synthetic": open_synthetic}))
