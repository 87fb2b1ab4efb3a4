"""The model once more, in NumPy and float64, written from the equations and sharing no code.

Plain and slow: one clip, one sample or tick at a time. `tests/model/test_oracle.py` holds the package
against it.
"""
