"""Colours with one meaning in every figure, and titles that matplotlib can draw."""

from matplotlib.font_manager import FontProperties, findfont, get_font

INK = "#222222"
WAVE = "#2f6690"
LOUDNESS = "#a9c5d8"
LEADER = "#d1495b"
"""Of the line from a video frame to its time."""
EVENT, ONSET = "#2e7d32", "#e08e0b"
MAX_TITLE_CHARS = 90


def printable_title(title: str) -> str:
    """Replace characters that the font lacks by boxes, and shorten a long title in its middle."""
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    text = "".join(char if ord(char) in glyphs else "\N{WHITE SQUARE}" for char in title)
    if len(text) <= MAX_TITLE_CHARS:
        return text
    half = MAX_TITLE_CHARS // 2
    return f"{text[: half - 1]} … {text[-half + 1 :]}"
