"""Write the API pages from docstrings and annotations.

    python -m docs.api out/api

Each package of `v2s_jax` gets a page with the names in its `__all__`, or one page per module if it
has no such list. The commands are left out; `--help` documents them.
"""

import argparse
import logging
import os
import pkgutil
import warnings
from pathlib import Path

import pdoc

import v2s_jax

EXCLUDED = ("v2s_jax.cli", "v2s_jax.__main__")


def main() -> None:
    """Write the pages. A name that cannot be documented is an error."""
    parser = argparse.ArgumentParser(prog="python -m docs.api", description="Write the API pages.")
    parser.add_argument("out", type=Path, help="folder for the pages")
    out = parser.parse_args().out
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # importing the package asks for the kind of processor
    logging.disable(logging.WARNING)  # Beam warns of optional packages
    for name in v2s_jax.__all__:  # names imported on demand are invisible otherwise
        setattr(v2s_jax, name, getattr(v2s_jax, name))
    packages = [module.name for module in pkgutil.iter_modules(v2s_jax.__path__, "v2s_jax.")]
    exclusions = [f"!{name}(\\.|$)" for name in EXCLUDED]
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"pdoc\b")
        pdoc.pdoc("v2s_jax", *packages, *exclusions, output_directory=out)
    print(out / "index.html")


if __name__ == "__main__":
    main()
