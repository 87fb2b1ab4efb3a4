"""Benchmarks: speed and memory of sampling, training, features and input.

Each case runs in its own process. The benchmarks are part of the checkout, not of the wheel.
"""
