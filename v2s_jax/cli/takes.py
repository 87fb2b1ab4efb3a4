"""`v2s takes`: a page to listen through generated takes, and to keep the good ones."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from v2s_jax.cli.arguments import parse_args
from v2s_jax.errors import InputError, printable


@dataclass(frozen=True)
class TakesArgs:
    """Arguments of `v2s takes`."""

    folder: tyro.conf.Positional[Path]
    """Folder with takes: the --out of v2s sample."""
    data: str | None = None
    """Dataset that the model was trained on: beside each take is what is nearest to it there, as a
    check against copying."""
    keep: Path | None = None
    """The list that was saved from the page: move all other takes to FOLDER/discarded."""


def main() -> None:
    """Run `v2s takes`."""
    args = parse_args(TakesArgs, "v2s takes", __doc__)
    if args.keep is not None and args.data is not None:
        raise InputError("--keep and --data: give one")
    from v2s_jax.evaluation.takes import DISCARDED_FOLDER, discard_takes, write_takes_page

    if args.keep is not None:
        moved = discard_takes(args.folder, args.keep)
        print(f"{len(moved)} files moved to {printable(args.folder / DISCARDED_FOLDER)}")
        return
    page = write_takes_page(args.folder, args.data)
    print(f"{printable(page)}: open it in a browser")
