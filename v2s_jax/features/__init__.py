"""Features: what the video says to the model, one vector for each video frame.

In: RGB pictures, already at the clock's rate and at the extractor's own size.
Out: `Features`, or the same frame by frame for long videos. `extractor.py` opens one by its name.
"""
