"""A progress bar over samples that are scored, with rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def scoring_bar(what: str, samples: int) -> Iterator[Callable[[int], None]]:
    """Give what is to be told how many samples were scored."""
    with tqdm(
        total=samples, desc=what, unit=" samples", unit_scale=True, dynamic_ncols=True
    ) as bar:

        def on_samples(scored: int) -> None:
            bar.update(scored)

        yield on_samples
