"""Training metrics: means over updates, JSON lines and TensorBoard events, and a profile."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write
from v2s_jax.json_text import parse_json
from v2s_jax.media import GENERATED_TAGS, write_wav
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.training.step import UpdateMetrics

METRICS_FILE = "metrics.jsonl"
EVENTS_PREFIX = "events"
PROFILE_FOLDER = "profile"
AUDIO_FOLDER = "audio"
STEP_DIGITS = 8
"""Digits of the step in names of audio files, so that they sort."""
FIRST_PROFILED_CALL = 3
"""The first call compiles, and the second may still wait for data."""
PROFILED_CALLS = 5


class AudioSample(NamedTuple):
    """Audio that a run generates for a clip during training."""

    name: str
    waveform: Float32[np.ndarray, " samples"]
    sample_rate_hz: int
    image: UInt8[np.ndarray, "height width 3"]
    """Its waveform and spectrogram."""


class Meter:
    """Means and speed since the last summary."""

    def __init__(self, config: Config) -> None:
        self._samples_per_update = config.training.batch_clips * config.training.chunk_samples
        self._sample_rate_hz = config.clock.sample_rate_hz
        self.last_nll: float | None = None
        """Nats per sample of the last summary."""
        self._metrics: list[UpdateMetrics] = []
        self._updates = 0
        self._busy_sec = 0.0
        self._since = time.perf_counter()

    def add(self, metrics: UpdateMetrics, updates: int) -> None:
        """Add a call of the training step that has just ended."""
        self._metrics.append(metrics)
        self._updates += updates
        now = time.perf_counter()
        self._busy_sec += now - self._since
        self._since = now

    def skip_pause(self) -> None:
        """Leave out the time since the last call, which was not spent on training."""
        self._since = time.perf_counter()

    def summarize(self) -> dict[str, float]:
        """Return the means as log scalars, and reset them."""
        metrics = jax.tree.map(lambda *calls: np.concatenate(calls), *self._metrics)
        nll = float(np.sum(metrics.nll * metrics.samples) / max(np.sum(metrics.samples), 1.0))
        sec_per_step = self._busy_sec / self._updates
        samples_per_sec = self._samples_per_update / sec_per_step
        self._metrics, self._updates, self._busy_sec = [], 0, 0.0
        self.last_nll = nll
        return {
            "nats_per_sample": nll,
            "bits_per_sample": nll * BITS_PER_NAT,
            **{
                f"gradient_norm/{part}": float(np.mean(norms))
                for part, norms in metrics.gradient_norm.items()
            },
            "sec_per_step": sec_per_step,
            "samples_per_sec": samples_per_sec,
            "x_real_time": samples_per_sec / self._sample_rate_hz,
        }


class MetricsLog(ExitStack):
    """Appends to WORKDIR/metrics.jsonl and to TensorBoard events in WORKDIR, and writes audio.

    A run that resumes at `step` first drops what it had logged after it. Raises InputError when the
    disk cannot be written.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        super().__init__()
        path = workdir / METRICS_FILE
        self._workdir = workdir
        with self._wrap_write_errors():
            if path.exists():
                _truncate_log(path, step)
            self._lines = path.open("a", encoding="utf-8")
            # tensorboardX's SummaryWriter has a thread that ends silently on a full disk, after
            # which the run would wait for it forever.
            self._events = EventsWriter(str(workdir / EVENTS_PREFIX))
            purge = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=step + 1, session_log=purge))
        self.callback(self._close)

    def _close(self) -> None:
        with self._wrap_write_errors():
            self._lines.close()
            self._events.close()

    @contextmanager
    def _wrap_write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._workdir}: the log cannot be written ({error.strerror}): free space or fix "
                "the disk, then rerun the same command to resume"
            ) from error

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Log scalars."""
        with self._wrap_write_errors():
            self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
            self._lines.flush()
            for name, value in scalars.items():
                self._events.write_event(Event(step=step, summary=summary.scalar(name, value)))
            self._events.flush()

    def log_audio(self, step: int, sample: AudioSample) -> None:
        """Log audio and its image to TensorBoard, and to WORKDIR/audio/STEP-CLIP.wav and .png."""
        tag = f"sound/{sample.name}"
        one_channel = sample.waveform[:, None]
        audio = summary.audio(tag, one_channel, sample_rate=sample.sample_rate_hz)
        image = summary.image(tag, sample.image, dataformats="HWC")
        stem = f"{step:0{STEP_DIGITS}}-{sample.name}"
        folder = self._workdir / AUDIO_FOLDER
        with self._wrap_write_errors():
            folder.mkdir(exist_ok=True)
            write_wav(
                folder / f"{stem}.wav", sample.waveform, sample.sample_rate_hz, GENERATED_TAGS
            )
            (folder / f"{stem}.png").write_bytes(image.value[0].image.encoded_image_string)
            for value in (audio, image):
                self._events.write_event(Event(step=step, summary=value))
            self._events.flush()


def _truncate_log(path: Path, last_step: int) -> None:
    """Drop the lines of later steps, a last line that a kill left incomplete, and corrupt ones."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.endswith("\n") and _step(line) <= last_step]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _step(line: str) -> float:
    """Return the step of a line of the log; infinity for one that is corrupt."""
    try:
        match parse_json(line):
            case {"step": int(step)}:
                return float(step)
    except ValueError:
        pass
    return math.inf


class Profile(ExitStack):
    """Traces a few calls of the training step into WORKDIR/profile, for TensorBoard or Perfetto."""

    def __init__(self, workdir: Path) -> None:
        super().__init__()
        self._folder = workdir / PROFILE_FOLDER
        self._calls = 0

    def step(self) -> None:
        """Count a call whose outputs are ready."""
        self._calls += 1
        if self._calls == FIRST_PROFILED_CALL - 1:
            jax.profiler.start_trace(str(self._folder))
            self.callback(jax.profiler.stop_trace)
        elif self._calls == FIRST_PROFILED_CALL - 1 + PROFILED_CALLS:
            self.close()
