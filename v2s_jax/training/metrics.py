"""What a run says while it goes: JSON lines and TensorBoard, in bits and nats."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write

METRICS_FILE = "metrics.jsonl"
EVENTS_PREFIX = "events"


class AudioSample(NamedTuple):
    """A sound that a run in the middle of training makes of a clip."""

    name: str
    waveform: Float32[np.ndarray, " samples"]
    sample_rate_hz: int
    picture: UInt8[np.ndarray, "height width 3"]
    """Its waveform and spectrogram."""


class MetricsLog:
    """Append scalars to WORKDIR/metrics.jsonl and to TensorBoard events in WORKDIR.

    A run that goes on from `step` forgets what it had logged beyond it, so that no update is
    logged twice. Raises InputError when the disk does not take what is logged.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        path = workdir / METRICS_FILE
        self._workdir = workdir
        with self._writing():
            if path.exists():
                _keep_lines(path, step)
            self._lines = path.open("a", encoding="utf-8")
            # Not the library's usual writer: its thread ends without a word on a full disk, and
            # the run would wait for it for ever.
            self._board = EventsWriter(str(workdir / EVENTS_PREFIX))
            purge = SessionLog(status=SessionLog.START)
            self._board.write_event(Event(step=step + 1, session_log=purge))

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._writing():
            self._lines.close()
            self._board.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._workdir}: what is logged cannot be written ({error.strerror}): free "
                "space or mend the disk; the same words go on from the newest checkpoint"
            ) from error

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Log scalars under `step`."""
        with self._writing():
            self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
            self._lines.flush()
            for name, value in scalars.items():
                self._board.write_event(Event(step=step, summary=summary.scalar(name, value)))
            self._board.flush()

    def log_audio(self, step: int, heard: AudioSample) -> None:
        """Put a sound and its picture into TensorBoard under `step`."""
        tag = f"sound/{heard.name}"
        sound = heard.waveform[:, None]  # one channel
        with self._writing():
            for part in (
                summary.audio(tag, sound, sample_rate=heard.sample_rate_hz),
                summary.image(tag, heard.picture, dataformats="HWC"),
            ):
                self._board.write_event(Event(step=step, summary=part))
            self._board.flush()


def _keep_lines(path: Path, last_step: int) -> None:
    """Drop the lines of later steps, and one that a kill cut off."""
    with path.open(encoding="utf-8") as lines:
        kept = [line for line in lines if line.endswith("\n") and _step(line) <= last_step]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _step(line: str) -> int:
    return int(json.loads(line)["step"])
