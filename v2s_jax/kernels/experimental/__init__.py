"""Pallas kernels for TPU and GPU that have not run on their device yet."""
