"""The ten categories of the synthetic dataset."""
