"""Sounds that a run makes while it trains, for the ear."""

from collections.abc import Sequence
from typing import Any

from v2s_jax.config import Config
from v2s_jax.datasets import ClipRecord
from v2s_jax.evaluation.clips import generate_sounds
from v2s_jax.figures import sound_picture
from v2s_jax.sampling import Sampler
from v2s_jax.training.metrics import AudioSample


class AudioLogger:
    """A few clips, cut to the config's `sound_sec`, sounded again and again with one seed."""

    def __init__(self, config: Config, records: Sequence[ClipRecord]) -> None:
        self._config = config
        samples = config.clock.samples(config.training.log_audio_sec)
        self._records = [_cut(record, samples, config) for record in records]
        self._generator: Sampler | None = None

    def __call__(self, params: dict[str, Any]) -> list[AudioSample]:
        """Return what parameters on the host sound like."""
        if self._generator is None:
            self._generator = Sampler(self._config, params, batch_size=len(self._records))
        self._generator.use(params)
        seed, rate_hz = self._config.training.seed, self._config.clock.sample_rate_hz
        waveforms = generate_sounds(
            self._generator, self._records, seed, temperature=1.0, on_samples=lambda brought: None
        )
        return [
            AudioSample(
                record.clip_id,
                waveform,
                rate_hz,
                sound_picture(waveform, rate_hz, record.clip_id),
            )
            for record, waveform in zip(self._records, waveforms, strict=True)
        ]


def _cut(record: ClipRecord, samples: int, config: Config) -> ClipRecord:
    """Return the clip's beginning, picture and sound."""
    waveform = record.waveform[:samples]
    video_frames = config.clock.video_frames(waveform.size)
    return record._replace(
        waveform=waveform,
        appearance=record.appearance[:video_frames],
        motion=record.motion[:video_frames],
    )
