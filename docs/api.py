"""Write the API's pages, generated from docstrings and annotations.

    python -m docs.api out/api

gives each stage of `v2s_jax` a page with the names that it offers to others (`__all__`), or a page
for each of its modules where it has no such list, and `data` one for each module.
"""

import argparse
import logging
import os
import pkgutil
import warnings
from pathlib import Path

import pdoc

import v2s_jax

PROGRAMS = ("v2s_jax.cli", "benchmarks.samplernn_pytorch_program", "v2s_jax.cli.main")
"""What these take is told by --help."""


def main() -> None:
    """Write the pages; what cannot be documented is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.api", description="Write the API's pages."
    )
    parser.add_argument("out", type=Path, help="folder for the pages")
    out = parser.parse_args().out
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # what is imported asks for the kind of processor
    logging.disable(logging.WARNING)  # Beam's, of what it is installed without
    for name in v2s_jax.__all__:  # those imported on demand are not seen otherwise
        setattr(v2s_jax, name, getattr(v2s_jax, name))
    stages = [found.name for found in pkgutil.iter_modules(v2s_jax.__path__, "v2s_jax.")]
    without = [f"!{name}(\\.|$)" for name in PROGRAMS]
    pdoc.render.configure(docformat="markdown", show_source=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"pdoc\b")
        pdoc.pdoc("v2s_jax", *stages, "data", *without, output_directory=out)
    print(out / "index.html")


if __name__ == "__main__":
    main()
