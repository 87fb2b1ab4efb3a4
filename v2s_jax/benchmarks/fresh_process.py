"""Calls in processes of their own: what a case compiles and how much it holds is its own."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from v2s_jax.errors import InputError

LISTEN_SEC = 0.2
"""Time between two looks at whether Ctrl-C was pressed."""

Result = TypeVar("Result")


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)` from a new process, which does not outlive this call.

    Function, arguments and result must pickle. Raises the InputError that the function raises,
    InputError when the system kills the process, and RuntimeError when it ends in any other way,
    having shown its traceback.
    """
    context = get_context("spawn")  # a forked JAX hangs, and would share its parent's peak
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    # Ctrl-C is this process's, which then ends the other; a mask is inherited from the very start.
    # The first start of all also starts a tracker, and takes the mask off: so that comes before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sender.close()
    try:
        with receiver:
            # A library's thread may take the signal: nothing then interrupts a read of this one.
            while not receiver.poll(LISTEN_SEC):
                pass
            answer = receiver.recv()
    except EOFError:
        process.join()
        raise _ending(process.exitcode) from None
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()
        process.close()
    if isinstance(answer, InputError):
        raise answer
    return answer


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Send what the call returns, or its InputError."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        answer = function(*arguments)
    except InputError as error:
        answer = error
    sender.send(answer)


def end_with_parent() -> None:
    """Wait for the end of the parent process, then end this one; for a thread of its own."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ending(exit_code: int | None) -> Exception:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return InputError(
            f"the process of a case was killed ({name}), most likely for want of memory: "
            "use a smaller --batch or --tile"
        )
    return RuntimeError(f"the process of a case ended with code {exit_code}: its error is above")
