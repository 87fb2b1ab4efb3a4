"""Training: state, step, data parallelism, checkpoints, metrics, and the loop."""
