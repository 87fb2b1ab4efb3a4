"""A page to listen through generated takes, each beside what is nearest to it in the dataset."""

from v2s_jax.evaluation.takes.page import DISCARDED_FOLDER, discard_takes, write_takes_page

__all__ = ["DISCARDED_FOLDER", "discard_takes", "write_takes_page"]
