"""Datasets of real videos in class folders: layout, split, extraction on Beam."""
