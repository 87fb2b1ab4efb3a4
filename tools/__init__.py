"""Tools for developers of the synthetic dataset."""
