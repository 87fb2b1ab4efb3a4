"""The `v2s` command. `v2s --help` is fast: a subcommand is imported only when it is run."""

import gc
import sys
from functools import partial
from importlib import import_module
from typing import NamedTuple, NoReturn

from v2s_jax import __version__
from v2s_jax.cli.run import exit_on_interrupt, run_cli
from v2s_jax.errors import unknown_name_error


class Command(NamedTuple):
    """A subcommand: the module whose `main` runs it, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    "sample": Command("v2s_jax.cli.sample", "generate sound for silent videos"),
    "live": Command("v2s_jax.cli.live", "play sound for a camera or a video while it runs"),
    "demo": Command("v2s_jax.cli.demo", "the same on a web page on this machine"),
    "prepare": Command(
        "v2s_jax.cli.prepare", "build a dataset from your videos or synthetic clips"
    ),
    "annotate": Command("v2s_jax.cli.annotate", "clean raw clips by votes on sound and image"),
    "train": Command("v2s_jax.cli.train", "train a model on a dataset"),
    "evaluate": Command("v2s_jax.cli.evaluate", "evaluate models on held-out clips"),
    "takes": Command("v2s_jax.cli.takes", "a page to listen through takes and keep the good ones"),
    "study": Command("v2s_jax.cli.study", "build and score a listening study"),
    "doctor": Command("v2s_jax.cli.doctor", "check this machine and say how to fix it"),
    "build": Command("v2s_jax.kernels.build", "build the C++ engine, once"),
}


def usage() -> str:
    """Return the help of `v2s`."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items())
    return (
        f"usage: v2s COMMAND ...\n\n{lines}\n\n"
        "v2s COMMAND --help lists the options of a command. To start:\n\n"
        "  v2s sample --video VIDEO --out FOLDER"
    )


def run_command() -> None:
    """Run the subcommand named by the first argument."""
    match sys.argv[1:]:
        case [] | ["-h" | "--help", *_]:
            print(usage())
        case ["--version", *_]:
            print(__version__)
        case [name, *_] if name in COMMANDS:
            del sys.argv[1]
            _run(name)
        case [name, *_]:
            raise unknown_name_error("v2s", name, COMMANDS)


def run_subcommand(name: str) -> NoReturn:
    """Run a subcommand with the arguments of the command line, for scripts of their own."""
    run_cli(partial(_run, name))


def _run(name: str) -> None:
    # Modules stay: looking through them again and again takes a seventh of the time to import them.
    gc.disable()
    with exit_on_interrupt():
        module = import_module(COMMANDS[name].module)
    gc.freeze()
    gc.enable()
    module.main()


def main() -> NoReturn:
    """Entry point of the `v2s` command."""
    run_cli(run_command)


if __name__ == "__main__":
    main()
