"""What is logged of the updates since the last reading: means, and the pace."""

import time

import jax
import numpy as np

from v2s_jax.config import Config
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.training.step import UpdateMetrics


class Meter:
    """Means over the updates since the last reading."""

    def __init__(self, config: Config) -> None:
        self._samples_per_update = config.training.batch_clips * config.training.chunk_samples
        self._sample_rate_hz = config.clock.sample_rate_hz
        self.last_nll: float | None = None
        """Nats per sample of the last reading."""
        self._metrics: list[UpdateMetrics] = []
        self._updates = 0
        self._busy_sec = 0.0
        self._since = time.perf_counter()

    def add(self, metrics: UpdateMetrics, updates: int) -> None:
        """Count one call of the training step, which ends now."""
        self._metrics.append(metrics)
        self._updates += updates
        now = time.perf_counter()
        self._busy_sec += now - self._since
        self._since = now

    def skip(self) -> None:
        """Leave out the time since the last call: it went into something else."""
        self._since = time.perf_counter()

    def read(self) -> dict[str, float]:
        """Return the means as scalars to log, and start anew."""
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
