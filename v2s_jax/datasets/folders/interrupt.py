"""Ctrl-C while Beam works on this machine: its workers end, and nothing else is said."""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    ExtendedProvisionInfo,
    FnApiRunner,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment

Result = TypeVar("Result")

_SETTLE_SEC = 5.0  # at most, until Beam gives up a run whose workers are gone
_WORKER_MODULE = "apache_beam.runners.worker.sdk_worker_main"


def local_runner(options: PipelineOptions) -> FnApiRunner | None:
    """Return a runner whose worker processes leave Ctrl-C to this one; None: Beam's own will do.

    A terminal interrupts them all, ffmpeg too, which would then look as if it had read a damaged
    file to its end.
    """
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return None
    direct.direct_running_mode = "in_memory"  # else the runner takes an environment of its own
    command = f"trap '' INT; exec {shlex.quote(sys.executable)} -m {_WORKER_MODULE}"
    environment = SubprocessSDKEnvironment.from_command_string(command)
    said = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=said)
    return FnApiRunner(environment, provision_info=ExtendedProvisionInfo(provision))


def run_interruptible(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, or raise what it raises; Ctrl-C raises KeyboardInterrupt at once.

    Beam would turn an interruption into a RuntimeError. So the work has a thread of its own, in
    which, as in every ffmpeg that it starts, SIGINT is blocked.
    """
    done: Future[Result] = Future()
    thread = threading.Thread(target=_settle, args=(done, work), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # threads inherit it
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return done.result()
    except KeyboardInterrupt:
        threading.excepthook = _say_nothing  # Beam's threads, of workers that were killed
        if _kill_workers():
            wait([done], _SETTLE_SEC)  # Beam notices while it is still silenced
        raise


def _settle(done: Future[Result], work: Callable[[], Result]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)


def _say_nothing(_: threading.ExceptHookArgs) -> None: ...


def _kill_workers() -> bool:
    """End Beam's workers before they miss this process; say whether there were any.

    Their ffmpeg ends when nobody reads its output.
    """
    killed = False
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(_WORKER_MODULE in word for word in process.cmdline()):
                process.kill()
                killed = True
    return killed
