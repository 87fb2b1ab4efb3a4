"""The paper's cleaning protocol: segments, sheets of questions, votes, clips."""
