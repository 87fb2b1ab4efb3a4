"""The example video."""

from pathlib import Path

EXAMPLE_VIDEO = Path(__file__).with_name("drum.mp4")
"""2 s of a synthetic drum with audio, 128 x 128 px."""
