"""The digest of the generator: what a clip's files follow from, beside its recipe."""

import ast
import hashlib
from pathlib import Path

from v2s_jax.media.encode import CLIP_SUFFIX, encoder_args

MAKE_CLIPS = ("generator", "encoding", "floor")
"""The modules that make a clip, its video and its floor."""
HERE = Path(__file__).parent


def generator_hash(folder: Path = HERE) -> str:
    """Return a short digest that changes with a source that makes clips, or the encoder's settings.

    Doors and reports beside them have no part in it.
    """
    digest = hashlib.sha256()
    for name in sorted(modules_that_make_clips(folder)):
        digest.update(_source(folder, name).read_bytes())
    settings = [
        encoder_args(codec, picture_filter, intra_only)
        for codec in CLIP_SUFFIX
        for picture_filter in (None, "null")
        for intra_only in (False, True)
    ]
    digest.update(repr(settings).encode())
    return digest.hexdigest()[:16]


def modules_that_make_clips(folder: Path = HERE) -> set[str]:
    """Return MAKE_CLIPS and every module of the folder that they import, and those, and so on."""
    found: set[str] = set()
    waiting = set(MAKE_CLIPS)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imported(_source(folder, name)) - found
    return found


def _imported(source: Path) -> set[str]:
    """Return the modules of its own folder that a source imports, which it does relatively."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return names


def _source(folder: Path, name: str) -> Path:
    return folder / f"{name}.py"
