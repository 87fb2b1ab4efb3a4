"""Calls in processes of their own: what a case compiles and how much it holds is its own."""

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from v2s_jax.errors import InputError

LISTEN_SEC = 0.2
"""Time between two looks at whether Ctrl-C was pressed."""

Result = TypeVar("Result")


def run_isolated(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)` from a new process, which does not outlive this call.

    Function, arguments and result must pickle. Raises the InputError that the function raises,
    InputError when the system kills the process, and RuntimeError when it ends in any other way,
    having shown its traceback.
    """
    context = get_context("spawn")  # a forked JAX hangs, and would share its parent's peak
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    with ExitStack() as at_the_end:
        with defer_sigint():  # Ctrl-C is this process's, which then ends the other
            process.start()
            at_the_end.callback(_end, process)
        sender.close()
        try:
            with receiver:
                # A library's thread may take the signal: nothing then interrupts a read of this one
                while not receiver.poll(LISTEN_SEC):
                    pass
                answer = receiver.recv()
        except EOFError:
            process.join()
            raise _ending(process.exitcode) from None
        process.join()
    if isinstance(answer, InputError):
        raise answer
    return answer


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Hold Ctrl-C back until the block is over; what starts in the block never hears it.

    Interrupted, a start leaves a process behind that misses its orders, and says so at length.
    """
    presses: list[int] = []

    def redeliver() -> None:
        if presses:
            _thread.interrupt_main()  # as if it came now, whatever the mask

    hearing = signal.getsignal(signal.SIGINT)
    with ExitStack() as at_the_end:
        at_the_end.callback(redeliver)
        # Python runs handlers in the main thread, and sets them there, alone.
        if callable(hearing) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: presses.append(1))
            at_the_end.callback(signal.signal, signal.SIGINT, hearing)
        # The first start of all also starts a tracker, and takes the mask off: so that comes before
        resource_tracker.ensure_running()
        # A mask is inherited from the very start, but holds for one thread: others may take it here
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        at_the_end.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        yield


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Send what the call returns, or its InputError."""
    threading.Thread(target=exit_with_parent, daemon=True).start()
    try:
        answer = function(*arguments)
    except InputError as error:
        answer = error
    sender.send(answer)


def exit_with_parent() -> None:
    """Wait for the end of the parent process, then end this one; for a thread of its own."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(process: SpawnProcess) -> None:
    process.kill()
    process.join()
    process.close()


def _ending(exit_code: int | None) -> Exception:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return InputError(
            f"the process of a case was killed ({name}), most likely for want of memory: "
            "use a smaller --batch or --batch-size"
        )
    return RuntimeError(f"the process of a case ended with code {exit_code}: its error is above")
