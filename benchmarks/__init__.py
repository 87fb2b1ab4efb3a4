"""Benchmarks: speed and memory of the stages, each case in a process of its own.

They run without TensorFlow, TFDS, tyro and ffmpeg, which machines with accelerators may lack.
"""
