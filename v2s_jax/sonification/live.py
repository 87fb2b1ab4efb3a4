"""`play`: sound for a camera or a file while it runs, and how late it is (`v2s live`).

pictures -> features -> block of one video frame's samples -> player
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from v2s_jax.checkpoints import load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.features.adjustment import MS_PER_SEC, NO_ADJUSTMENT
from v2s_jax.features.extractor import Extractor, extractor_for_config, iter_model_features
from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.media.live import LiveInput, LiveReader, PlayerName, open_player
from v2s_jax.quantize import dequantize
from v2s_jax.sampling import Sampler, clip_key, streaming
from v2s_jax.sampling.degeneracy import Degeneracy
from v2s_jax.sonification.by_hand import check_by_hand
from v2s_jax.sonification.options import SampleOptions, choose, make_sampler
from v2s_jax.sonification.settings import GenerationSettings, settings_of
from v2s_jax.sonification.streaming import UNKNOWN_CONTENT

Item = TypeVar("Item")


class Delay(NamedTuple):
    """How late a block is, by stage, in seconds.

    Counted from the middle of the last video frame that the block depends on: with `aligned` that
    is the one `lookahead` video frames after its own.
    """

    capture_sec: float
    """Until its pixels are here: camera or decoder, and the wait for the picture after it."""
    features_sec: float
    sampling_sec: float

    @property
    def total_sec(self) -> float:
        """From the picture to the sound at the player."""
        return self.capture_sec + self.features_sec + self.sampling_sec


class LiveBlock(NamedTuple):
    """The sound of one video frame, as the player got it."""

    waveform: Float32[np.ndarray, " samples"]
    delay: Delay | None
    """None for the last `lookahead` blocks of a file, which wait for no picture."""
    degeneracy: Degeneracy | None
    """Set if this block ends a second of degenerate audio."""


class LiveModel:
    """A model that is compiled and ready, since a camera does not wait."""

    def __init__(self, options: SampleOptions) -> None:
        """Load and compile.

        Raises InputError for bad options, and for Seq and Flow, which need the future.
        """
        options.check()
        self.options = options
        self.config, params = load_params(Path(options.checkpoint))
        if self.config.model.encodes_video:
            raise InputError(
                f"{options.checkpoint}: variant {self.config.model.variant} reads 10 s of video "
                "before their sound: use aligned or frame"
            )
        check_by_hand(self.config, options, videos=1)
        if options.controls is not None or options.adjustment != NO_ADJUSTMENT:
            raise InputError("live sound follows the picture: leave out controls and adjustments")
        choice = choose(self.config, params, options, samples=None)
        self._sampler = make_sampler(self.config, params, choice)
        self._sampler.limit_batch(1)
        self.note: str | None = choice.note
        self.seen: SeenInVideo | None = None
        self.settings: GenerationSettings = settings_of(self._sampler, params, options)
        self._extractor = extractor_for_config(self.config, options.weight_files, options.category)
        size = (self._extractor.frame_height_px, self._extractor.frame_width_px)
        black = np.zeros((*size, 3), np.uint8)
        blank = _Stages(self._sampler, self._extractor, self.options)
        for _ in blank.run([black] * (2 + self.config.model.context_future)):
            pass  # compiles everything

    def play(self, source: LiveInput, player: PlayerName) -> Iterator[LiveBlock]:
        """Yield the blocks after handing them to the player, up to the end of the file.

        Raises InputError when the input or the player fails.
        """
        config = self.config
        reader = LiveReader(source, config.clock)
        stages = _Stages(self._sampler, self._extractor, self.options)
        self.seen = stages.seen
        size = (self._extractor.frame_height_px, self._extractor.frame_width_px)
        with open_player(player, config.clock.sample_rate_hz) as write:
            newest = -1
            for block in stages.run(reader.read_video_frames(*size)):
                model = config.model
                waveform = dequantize(block.levels, model.q_levels, model.quantization)
                write(waveform)
                delay = None
                if stages.video_frames > newest:
                    newest = stages.video_frames
                    shown_sec = reader.shown_sec(newest - 1)
                    delay = stages.delay(shown_sec, time.time())
                yield LiveBlock(waveform, delay, block.degeneracy)


class _Stages:
    """Extractor and sampler one after the other, with the times of the newest video frame."""

    def __init__(self, sampler: Sampler, extractor: Extractor, options: SampleOptions) -> None:
        self._sampler, self._extractor, self._options = sampler, extractor, options
        self.seen = extractor.open_summary()
        self.video_frames = 0
        """That have come."""
        self._came_sec = self._extracted_sec = 0.0

    def run(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[streaming.Block]:
        """Yield the block of each video frame."""
        sampler, options = self._sampler, self._options
        came = self._came(frames)
        vectors = iter_model_features(self._extractor, came, sampler.config, self.seen)
        carry = streaming.first_carry(sampler, clip_key(options.seed, UNKNOWN_CONTENT))
        return streaming.stream(
            *(sampler, self._extracted(vectors), carry),
            temperature=options.chosen_temperature,
            max_retries=options.max_retries,
        )

    def _came(self, frames: Iterable[Item]) -> Iterator[Item]:
        for frame in frames:
            self._came_sec = time.time()
            self.video_frames += 1
            yield frame

    def _extracted(self, vectors: Iterable[Item]) -> Iterator[Item]:
        for vector in vectors:
            self._extracted_sec = time.time()
            yield vector

    def delay(self, shown_sec: float, written_sec: float) -> Delay:
        """Return the delay of a block that was just written."""
        return Delay(
            self._came_sec - shown_sec,
            self._extracted_sec - self._came_sec,
            written_sec - self._extracted_sec,
        )


class Delays:
    """Delays of the blocks so far, in constant memory for hours: one number for each block."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._totals_ms: list[float] = []

    def add(self, delay: Delay) -> None:
        """Add that of a block."""
        self._totals_ms.append(MS_PER_SEC * delay.total_sec)

    def foresight(self) -> str:
        """Return by how much the sound lags before anything is computed."""
        frames = self._config.model.context_future
        late_ms = float(MS_PER_SEC * frames / self._config.clock.fps)
        return f"sound lags by {frames} video frames ({late_ms:.0f} ms)"

    def __str__(self) -> str:
        if not self._totals_ms:
            return "no sound was played"
        median, p99 = np.percentile(self._totals_ms, (50, 99))
        return (
            f"{self.foresight()} and further {median:.0f} ms (99th percentile {p99:.0f} ms) in "
            f"{len(self._totals_ms)} blocks"
        )
