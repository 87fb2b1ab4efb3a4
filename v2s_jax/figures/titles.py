"""Names from outside as titles."""

from matplotlib.font_manager import FontProperties, findfont, get_font

MAX_TITLE_CHARS = 90


def printable(title: str) -> str:
    """Return the title with a box for what the font lacks, and its middle left out when long."""
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    text = "".join(char if ord(char) in glyphs else "\N{WHITE SQUARE}" for char in title)
    if len(text) <= MAX_TITLE_CHARS:
        return text
    half = MAX_TITLE_CHARS // 2
    return f"{text[: half - 1]} … {text[-half + 1 :]}"
