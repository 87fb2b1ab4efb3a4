"""A profile of a few compiled calls, for TensorBoard's profiler or Perfetto."""

from pathlib import Path
from types import TracebackType

import jax

FOLDER = "profile"
FIRST_CALL = 3  # the first compiles, the second may still wait for data
CALLS = 5


class Profile:
    """Trace a few calls of the training step into WORKDIR/profile; their outputs must be ready."""

    def __init__(self, workdir: Path) -> None:
        self._folder = workdir / FOLDER
        self._calls = 0
        self._tracing = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def called(self) -> None:
        """Count a call that has ended."""
        self._calls += 1
        if self._calls == FIRST_CALL - 1:
            jax.profiler.start_trace(str(self._folder))
            self._tracing = True
        elif self._calls == FIRST_CALL - 1 + CALLS:
            self._stop()

    def _stop(self) -> None:
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
