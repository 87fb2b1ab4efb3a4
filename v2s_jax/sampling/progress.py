"""Progress bars with the pace as a multiple of real time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from v2s_jax.sampling.sampler import Sampler


@contextmanager
def show_activity(description: str) -> Iterator[None]:
    """Name what is going on, as one step of unknown length."""
    bar_format = "{desc} [{elapsed}]"
    with tqdm(total=1, desc=description, bar_format=bar_format, leave=False) as bar:
        bar.update(0)  # shows it on the page, too
        yield


@contextmanager
def progress_bar(
    sampler: Sampler, samples: int | None, description: str = "generating"
) -> Iterator[Callable[[int], None]]:
    """Compile the sampler, then show progress; yields a function to call with new samples.

    `samples` is the expected total, None if unknown.
    """
    sample_rate_hz = sampler.config.clock.sample_rate_hz
    # Two bars: the page shows the description that a bar began with.
    with show_activity("compiling"):
        sampler.compile()
    with tqdm(
        total=samples, desc=description, unit=" samples", unit_scale=True, dynamic_ncols=True
    ) as bar:

        def on_samples(new_samples: int) -> None:
            bar.update(new_samples)
            rate = bar.n / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate / sample_rate_hz:.1f} x real time", refresh=False)

        yield on_samples
