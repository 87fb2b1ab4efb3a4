"""Data sets: where clips come from, and which split they are in."""
