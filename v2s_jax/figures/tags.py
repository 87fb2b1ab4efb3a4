"""Tags in the text of a PNG."""

from pathlib import Path

from PIL import Image

from v2s_jax.errors import InputError, reason
from v2s_jax.media import Tags

_KEYWORDS = {"comment": "Comment", "software": "Software"}
"""Names of tags that PNG registers; others stay as they are."""


def png_text(tags: Tags) -> dict[str, str]:
    """Return tags under the keywords of PNG."""
    return {_KEYWORDS.get(name, name): value for name, value in tags.items()}


def read_png_tags(path: Path) -> dict[str, str]:
    """Return the text of a PNG, by keywords in small letters.

    Raises InputError when the file cannot be read.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            text = [(key, value) for key, value in image.info.items() if isinstance(value, str)]
    except Exception as error:  # Pillow has no error of its own for damaged files
        raise InputError(f"{path}: cannot be read ({reason(error)}): copy it again") from error
    return {str(key).lower(): value for key, value in text}
