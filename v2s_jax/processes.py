"""Worker processes (an ordered parallel map, single isolated calls) and signals.

Workers are spawned, for forking a process in which threads of TensorFlow or JAX run can hang
the child. They leave Ctrl-C to the parent and end when the parent ends, even when it is killed.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from v2s_jax.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

CPU_COUNT = os.cpu_count() or 1

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""What BLAS libraries read when they are loaded, and OpenCV before its first loop."""

TASKS_PER_WORKER = 4
"""Tasks running or waiting per worker: bounds memory when results are consumed slowly."""

POLL_SEC = 0.2
"""Interval at which a wait for a child looks for Ctrl-C: the system may deliver the signal to a
thread other than the main one, and then no blocking read is interrupted."""


def parallel_map(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Yield `work(task)` for each task in order, computed ahead in `workers` processes.

    An exception of `work` is raised here. Raises InputError when the system kills a worker.
    """
    remaining = iter(tasks)
    with open_pool(workers) as pool:
        pending = deque(
            pool.submit(work, task) for task in islice(remaining, workers * TASKS_PER_WORKER)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(work, task) for task in islice(remaining, 1))
                yield result
        except BrokenProcessPool as error:
            raise worker_killed_error(workers, "--workers") from error
        finally:
            for future in pending:
                future.cancel()


class _Pool(ProcessPoolExecutor):
    """A pool that starts its processes one by one, when there is work."""

    def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        with block_sigint():
            return super().submit(work, *args, **kwargs)


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that compute on one thread each."""
    return _Pool(workers, get_context("spawn"), _start_worker)


def worker_killed_error(workers: int, option: str) -> InputError:
    """Return the error for a broken pool; `option` chooses the number of workers."""
    return InputError(
        f"one of {workers} worker processes was killed, most likely because memory ran out: use "
        f"fewer {option} and run again"
    )


def _start_worker() -> None:
    """Prepare a worker of a pool.

    With one thread per core in every worker, threads would wait for each other.
    """
    os.environ.update(ONE_THREAD)
    threadpool_limits(1)  # for libraries that importing the main module has already loaded
    os.setpgrp()  # tools such as `timeout` signal the whole process group
    _follow_parent()


def run_isolated(function: Callable[..., Result], *args: Any) -> Result:
    """Return `function(*args)` from a new process, which does not outlive this call.

    Function, arguments and result must pickle. Raises the InputError that the function raises,
    InputError when the system kills the process, and RuntimeError when it fails in another way,
    after it has printed its traceback.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, args), daemon=True)
    with block_sigint():
        process.start()
    try:
        sender.close()
        with receiver:
            while not receiver.poll(POLL_SEC):
                pass
            result = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        if code >= 0:
            raise RuntimeError(
                f"the process of a case exited with code {code}: see its error above"
            ) from None
        raise InputError(
            f"the process of a case was killed ({signal.Signals(-code).name}), most likely because "
            "memory ran out: use a smaller --batch or --batch-size"
        ) from None
    finally:
        process.kill()
        process.join()
        process.close()
    if isinstance(result, InputError):
        raise result
    return result


def _send_result(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Send the result of the call, or its InputError."""
    _follow_parent()
    try:
        result = function(*args)
    except InputError as error:
        result = error
    sender.send(result)


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block Ctrl-C in this thread until the block ends; processes started in it inherit that.

    A process that is interrupted while it starts prints a traceback of the interpreter.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _follow_parent() -> None:
    """Ignore Ctrl-C, and exit when the parent process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


class PreemptionGuard(ExitStack):
    """Records SIGTERM instead of ending the process, until its `with` block ends.

    Cloud machines are preempted with this signal. Only the main thread can handle signals; in other
    threads the guard does nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False
        """Whether SIGTERM has arrived."""
        if threading.current_thread() is threading.main_thread():
            previous = signal.signal(signal.SIGTERM, self._request)
            self.callback(signal.signal, signal.SIGTERM, previous)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True
