"""The paper's cleaning protocol: segments, two sheets of questions, votes, clips."""
