"""Features: RGB video frames in, `Features` out, one vector of each kind per video frame.

`extractor.py` opens an extractor by its name.
"""
