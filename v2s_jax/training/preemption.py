"""SIGTERM, with which machines on loan are taken back: a request to end soon, not now."""

import signal
import threading
from types import FrameType, TracebackType


class PreemptionGuard:
    """While it is entered, SIGTERM is remembered instead of ending the process.

    Only the main thread may say what a signal does; elsewhere nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether the signal has come."""

    def __enter__(self) -> "PreemptionGuard":
        self._is_main = threading.current_thread() is threading.main_thread()
        if self._is_main:
            self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_main:
            signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
