"""Generation of many clips on one sampler, or on one sampler per device of the machine.

Every device runs the same program and takes the next clip whenever a slot is free, so no device
waits for another. A clip's levels do not depend on which device generates it.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from v2s_jax.errors import InputError
from v2s_jax.sampling.continuous_batching import Clip, ContinuousBatcher, open_clip
from v2s_jax.sampling.rng import check_temperature
from v2s_jax.sampling.sampler import Sampler
from v2s_jax.sampling.types import GenerationOptions, GenerationResult, Request

_MAX_BLOCKS_AHEAD = 4
"""Blocks that a device may generate before their results are used: this bounds memory."""

_Step = tuple[int, list[tuple[int, GenerationResult]]]
"""What `ContinuousBatcher.run` yields."""


def replicate_sampler(
    make: Callable[[], Sampler], devices: Sequence[Any] | None = None
) -> list[Sampler]:
    """Make one sampler per device.

    Args:
        make: Makes a sampler on JAX's default device.
        devices: JAX devices of this machine; all of them unless given.

    Returns:
        The samplers, in the order of the devices.
    """
    samplers = []
    for device in jax.local_devices() if devices is None else devices:
        with jax.default_device(device):
            samplers.append(make())
    return samplers


def generate(
    sampler: Sampler,
    requests: Sequence[Request],
    temperature: float = 1.0,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> list[UInt8[np.ndarray, " samples"]]:
    """Generate clips on one device, in the simplest way.

    Args:
        sampler: A sampler, compiled or not.
        requests: Any number of clips.
        temperature: Divides the logits.
        on_samples: Called after each block with the number of new samples.

    Returns:
        The levels of each clip, in the order of `requests`.

    Raises:
        InputError: As `generate_stream`.
    """
    results = generate_all([sampler], requests, GenerationOptions(temperature), on_samples)
    return [result.levels for result in results]


def generate_all(
    samplers: Sequence[Sampler],
    requests: Sequence[Request],
    options: GenerationOptions,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> list[GenerationResult]:
    """Return what `generate_stream` yields, in the order of `requests`."""
    results = dict(generate_stream(samplers, requests, options, on_samples))
    return [results[index] for index in range(len(requests))]


def generate_stream(
    samplers: Sequence[Sampler],
    requests: Sequence[Request],
    options: GenerationOptions,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> Iterator[tuple[int, GenerationResult]]:
    """Generate clips, and yield each when it is finished.

    Args:
        samplers: One per device, of the same checkpoint and batch size.
        requests: Any number of clips. The longest start first, so that no device is left with a
            long one at the end.
        options: Options of all clips.
        on_samples: Called after each block with the number of new samples.

    Yields:
        The index of a request, and its result.

    Raises:
        InputError: For a bad temperature or prefix, and for features that are not finite, of
            another width than the config's, or not one vector per video frame.
    """
    check_temperature(options.temperature)
    if options.max_retries < 0:
        raise InputError(f"{options.max_retries} retries: use 0 or more")
    clips = [open_clip(i, request, samplers[0]) for i, request in enumerate(requests)]
    clips.sort(key=lambda clip: -clip.remaining)
    for clip in clips:
        if not clip.remaining:
            nll = 0.0 if options.with_nll else None
            yield clip.index, GenerationResult(clip.levels, nll, ())
    # All devices take clips from here: `next` of a list's iterator is atomic.
    next_clip = partial(next, iter([clip for clip in clips if clip.remaining]), None)
    if len(samplers) == 1:
        steps = ContinuousBatcher(samplers[0], next_clip, options).run()
    else:
        steps = _run_devices(samplers, next_clip, options)
    for new_samples, finished in steps:
        on_samples(new_samples)
        yield from finished


def _run_devices(
    samplers: Sequence[Sampler], next_clip: Callable[[], Clip | None], options: GenerationOptions
) -> Iterator[_Step]:
    """Run each sampler in its own thread; the first error ends all.

    Each device has an executor with one thread, which runs its blocks in order. A new block is
    submitted only when the result of an earlier one is taken.
    """
    with ExitStack() as stack:
        pending: dict[Future[_Step | None], Callable[[], Future[_Step | None]]] = {}
        for sampler in samplers:
            executor = ThreadPoolExecutor(max_workers=1)
            stack.callback(executor.shutdown, cancel_futures=True)
            steps = ContinuousBatcher(sampler, next_clip, options).run()
            submit = partial(executor.submit, _run_block, sampler, steps)
            pending |= {submit(): submit for _ in range(_MAX_BLOCKS_AHEAD)}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                submit_next = pending.pop(future)
                step = future.result()
                if step is not None:
                    pending[submit_next()] = submit_next
                    yield step


def _run_block(sampler: Sampler, steps: Iterator[_Step]) -> _Step | None:
    """Run a sampler's next block on its device; return None at the end."""
    (device,) = jax.tree.leaves(sampler.folded.params)[0].devices()
    with jax.default_device(device):
        return next(steps, None)
