"""A second implementation in NumPy and float64, written from the equations without shared code.

Plain and slow: one clip, one sample or tick at a time. `tests/model/test_oracle.py` compares the
package with it.
"""
