"""Build a dataset from class folders of recordings, with controls computed from the sound."""
