"""Training: loss, step, parallel devices, checkpoints, metrics, and the loop."""
