"""All requests, over one generator or one for each device of the machine.

Each device runs the same program on a tile of its own and takes the next clip whenever a row is
free, so none waits for another; which one takes a clip changes nothing of its sound.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import jax

from v2s_jax.errors import InputError
from v2s_jax.sampling.continuous_batching import (
    Clip,
    ContinuousBatcher,
    GenerationOptions,
    GenerationResult,
    open_clip,
)
from v2s_jax.sampling.rng import check_temperature
from v2s_jax.sampling.sampler import Request, Sampler

_MAX_WAITING = 4
"""Results of a device that may wait to be taken; then it waits itself: memory is bounded."""


def replicate_sampler(
    make: Callable[[], Sampler], devices: Sequence[Any] | None = None
) -> list[Sampler]:
    """Make a generator on each local device, or on those given."""
    samplers = []
    for device in jax.local_devices() if devices is None else devices:
        with jax.default_device(device):
            samplers.append(make())
    return samplers


def generate_all(
    samplers: Sequence[Sampler],
    requests: Sequence[Request],
    options: GenerationOptions,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> list[GenerationResult]:
    """Return what `generate_stream` yields, in the order of `requests`."""
    made = dict(generate_stream(samplers, requests, options, on_samples))
    return [made[number] for number in range(len(requests))]


def generate_stream(
    samplers: Sequence[Sampler],
    requests: Sequence[Request],
    options: GenerationOptions,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> Iterator[tuple[int, GenerationResult]]:
    """Yield the number and the sound of each request as it ends.

    `generators` are of one checkpoint and one tile. Long clips begin first, so that no row is left
    with one at the end. `on_samples` is told after each block how many wanted samples it brought.
    Raises InputError for a bad temperature, features or prefix.
    """
    check_temperature(options.temperature)
    if options.max_retries < 0:
        raise InputError(f"{options.max_retries} redraws: use 0 for none, or more")
    clips = [open_clip(i, request, samplers[0]) for i, request in enumerate(requests)]
    clips.sort(key=lambda clip: -clip.left)
    yield from _empty(clips, options)
    take = _Queue([clip for clip in clips if clip.left])
    if len(samplers) == 1:
        steps = ContinuousBatcher(samplers[0], take, options).run()
    else:
        steps = _run_devices(samplers, take, options)
    for brought, ended in steps:
        on_samples(brought)
        yield from ended


def _empty(
    clips: Sequence[Clip], options: GenerationOptions
) -> Iterator[tuple[int, GenerationResult]]:
    for clip in clips:
        if not clip.left:
            yield clip.number, GenerationResult(clip.levels, 0.0 if options.with_nats else None, ())


class _Queue:
    """Hands out clips, to several threads too."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = iter(clips)
        self._lock = threading.Lock()

    def __call__(self) -> Clip | None:
        with self._lock:
            return next(self._clips, None)


def _run_devices(
    samplers: Sequence[Sampler], take: _Queue, options: GenerationOptions
) -> Iterator[tuple[int, list[tuple[int, GenerationResult]]]]:
    """Run each generator in a thread of its own, on its device; the first fault ends all."""
    results: queue.Queue[Any] = queue.Queue(_MAX_WAITING * len(samplers))
    stop = threading.Event()

    def put(result: Any) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                results.put(result, timeout=0.1)
                return

    def work(sampler: Sampler) -> None:
        (device,) = jax.tree.leaves(sampler.folded.params)[0].devices()
        try:
            with jax.default_device(device):
                for step in ContinuousBatcher(sampler, take, options).run():
                    put(step)
                    if stop.is_set():
                        return
            put(None)
        except BaseException as error:
            put(error)

    threads = [threading.Thread(target=work, args=(g,), daemon=True) for g in samplers]
    for thread in threads:
        thread.start()
    try:
        working = len(threads)
        while working:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                working -= 1
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
