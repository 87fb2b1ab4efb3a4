"""One sound under many videos: the scores that retrieval ranks by.

The forward pass of training, with one row of levels for all rows of videos: what depends on the
sound alone (embeddings, the upper tiers' products of their samples) is computed once for all
videos of a tile. Seq and Flow encode each video once and start every sound from the same carry;
Frame's products of vision, once per 1,024 samples, cost less than a thousandth of the rest.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, UInt8

from v2s_jax.config import Config
from v2s_jax.evaluation.likelihood import chunk_nll
from v2s_jax.model import Carry, VideoToSound, encode, initial_carry
from v2s_jax.model.loss import BITS_PER_NAT
from v2s_jax.quantize import q_zero

MAX_ROWS = 32
"""Videos side by side, at most."""
ROW_SAMPLES = 4_096
"""Most rows times samples of one compiled call: beyond it activations leave a CPU's caches. With 20
rows of the demo preset, 2,560 brought 127,000 samples/s, 5,120 107,000 and 20,480 69,000 (two cores
of an AMD EPYC, beside other work)."""
TIMED_CALLS = 8
"""Calls that the pace is measured on."""


class VideoBatch(NamedTuple):
    """Videos side by side."""

    features: Float[np.ndarray, "rows video_frames feature_dim"]
    carry: Carry
    """Before the first sample, with one row of levels."""
    videos: int
    """Rows that are videos; the rest is padding."""


class VideoGallery:
    """Videos, and how likely each makes a sound. All have the same number of video frames.

    Each score is that of `likelihood.Scorer` but for rounding.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        features: Float[np.ndarray, "videos video_frames feature_dim"],
    ) -> None:
        self._config, self._params = config, params
        self._videos = len(features)
        tiles = -(-self._videos // MAX_ROWS)
        self._rows = -(-self._videos // tiles)
        self._chunk_samples = _chunk_samples(config, self._rows)
        model = VideoToSound(config, "highest")
        self._chunk = partial(chunk_nll, model)
        self._tiles = [
            _video_batch(model, params, features[first : first + self._rows], self._rows)
            for first in range(0, self._videos, self._rows)
        ]

    def bits(
        self,
        levels: UInt8[np.ndarray, " samples"],
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> Float64[np.ndarray, " videos"]:
        """Return -log2 p(sound | video) for each video; `on_samples` counts samples of all."""
        return np.concatenate(
            [self._tile_bits(levels, batch_size, on_samples) for batch_size in self._tiles]
        )

    def samples_per_sec(self) -> float:
        """Measure the pace, once it is compiled: samples of all videos together per second."""
        first = self._tiles[0]
        there = first.features.shape[1] * self._config.clock.samples_per_video_frame
        samples = min(TIMED_CALLS * self._chunk_samples, there)
        levels = np.full(samples, q_zero(self._config.model.q_levels), np.uint8)
        self._tile_bits(levels, first)
        start_frame = perf_counter()
        self._tile_bits(levels, first)
        return samples * first.videos / (perf_counter() - start_frame)

    def _tile_bits(
        self,
        levels: UInt8[np.ndarray, " samples"],
        batch_size: VideoBatch,
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> Float64[np.ndarray, " videos"]:
        """Score one tile, chunk by chunk."""
        silence, width = q_zero(self._config.model.q_levels), self._chunk_samples
        carry = jax.tree.map(
            jnp.copy, batch_size.carry
        )  # the program writes over the one it is given
        nats = np.zeros(self._rows)
        for start in range(0, len(levels), width):
            own = levels[start : start + width]
            row = np.full((1, width), silence, np.uint8)
            row[0, : len(own)] = own
            mask = np.arange(width)[None] < len(own)
            video_frame = start // self._config.clock.samples_per_video_frame
            seen = batch_size.features[:, video_frame : video_frame + 1].astype(np.float32)
            carry, chunk = self._chunk(self._params, carry, row, mask, seen)
            nats += np.asarray(chunk, np.float64)
            on_samples(len(own) * batch_size.videos)
        return nats[: batch_size.videos] * BITS_PER_NAT


def _chunk_samples(config: Config, rows: int) -> int:
    """Return whole big frames that divide a video frame and fit ROW_SAMPLES, if any do."""
    size, per_frame = config.model.big_frame_size, config.clock.samples_per_video_frame
    big_frames = per_frame // size
    fitting = [n for n in range(1, big_frames + 1) if not big_frames % n]
    fitting = [n for n in fitting if n * size * rows <= ROW_SAMPLES] or [1]
    return fitting[-1] * size


@partial(jax.jit, static_argnums=0)
def _start(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[Array, "rows video_frames feature_dim"],
) -> Carry:
    """Return each video's carry before the first sample, with one row of levels for all."""
    rows = features.shape[0]
    carry = initial_carry(model, params, rows)
    carry = encode(model, params, carry, features, jnp.ones(features.shape[:2], bool))
    return carry._replace(levels=carry.levels[:1])


def _video_batch(
    model: VideoToSound,
    params: dict[str, Any],
    features: Float[np.ndarray, "videos video_frames feature_dim"],
    rows: int,
) -> VideoBatch:
    """Fill rows that are left with the last video, and encode all."""
    filled = features[np.minimum(np.arange(rows), len(features) - 1)]
    return VideoBatch(filled, _start(model, params, filled), len(features))
