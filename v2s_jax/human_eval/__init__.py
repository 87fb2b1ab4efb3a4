"""Listening studies and annotation: pages for people, and the scoring of their answers."""
