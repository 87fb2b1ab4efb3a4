"""Work spread over processes, results in order."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from benchmarks.fresh_process import defer_sigint, exit_with_parent
from v2s_jax.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""What BLAS libraries read when they are loaded, and OpenCV before its first loop."""

AHEAD_PER_WORKER = 4  # tasks under way or waiting; bounds memory when the results are taken slowly


def parallel_map(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Yield `work(task)` for each task, computed ahead in `workers` processes.

    What `work` raises is raised here, and InputError when the system kills a worker. The
    processes end with the iterator, and when this process is killed.
    """
    remaining = iter(tasks)
    with open_pool(workers) as pool:
        pending = deque(
            pool.submit(work, task) for task in islice(remaining, workers * AHEAD_PER_WORKER)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(work, task) for task in islice(remaining, 1))
                yield result
        except BrokenProcessPool as error:
            raise worker_killed_error(workers, "--workers") from error
        finally:
            for waiting in pending:
                waiting.cancel()


class _Pool(ProcessPoolExecutor):
    """Processes that are started, one by one, when there is something to do."""

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        with defer_sigint():  # a worker that is not there yet cannot leave it to the parent
            return super().submit(work, *arguments, **options)


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Return processes to work; they end when it is closed, and when this process is killed."""
    # Forking a process in which the threads of TensorFlow or JAX run can hang the child.
    return _Pool(workers, get_context("spawn"), _start_worker)


def worker_killed_error(workers: int, option: str) -> InputError:
    """Return the error about a pool that broke; `option` is what chose the number of workers."""
    return InputError(
        f"one of {workers} worker processes was killed, most likely for want of memory: use fewer "
        f"{option} and run again"
    )


def _start_worker() -> None:
    """Leave a signal to the whole group to the parent, and do not outlive it.

    A worker computes on one thread: with one for every core in every worker, threads wait for each
    other, and the same clips take more processor time.
    """
    os.environ.update(ONE_THREAD)
    threadpool_limits(1)  # of what the main module, which workers import first, has loaded
    os.setpgrp()  # `timeout`, for one, ends a program by a signal to its group
    threading.Thread(target=exit_with_parent, daemon=True).start()
