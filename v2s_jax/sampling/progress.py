"""A progress bar over generation: first compiling, then sounding, with the pace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from v2s_jax.sampling.sampler import Sampler


@contextmanager
def progress_bar(sampler: Sampler, samples: int) -> Iterator[Callable[[int], None]]:
    """Compile behind a bar, start its clock anew, and give what `generate` tells its samples."""
    sample_rate_hz = sampler.config.clock.sample_rate_hz
    with tqdm(
        total=samples, desc="compiling", unit=" samples", unit_scale=True, dynamic_ncols=True
    ) as bar:

        def on_samples(brought: int) -> None:
            bar.update(brought)
            rate = bar.n / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate / sample_rate_hz:.1f} x real time")

        sampler.compile()
        bar.set_description("sounding")
        bar.reset()
        yield on_samples
