"""What a colour means, the same in every figure."""

INK = "#222222"
WAVE = "#2f6690"
LEADER = "#d1495b"
"""Of the line from a picture to its place."""
EVENT, ONSET = "#2e7d32", "#e08e0b"
