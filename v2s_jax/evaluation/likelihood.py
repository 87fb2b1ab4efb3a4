"""How likely a model finds a clip's sound, given its video: log2 p(sound | video), exactly.

The forward pass of training, in chunks with the carry between them, so that memory does not grow
with the clip; in float32 arithmetic on every device. What a coder driven by the same model would
need to store the sound, to a fraction of a bit.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound, encode, forward, initial_carry
from v2s_jax.model.loss import BITS_PER_NAT, masked_nll
from v2s_jax.quantize import q_zero
from v2s_jax.validation import check_features

CHUNK_VIDEO_FRAMES = 1
"""Video frames per chunk: the activations of more would leave a CPU's caches."""

DEFAULT_BATCH_SIZE = 8
"""Clips side by side in one compiled call."""


class Sound(NamedTuple):
    """What is scored: a clip's levels, and what the model reads of its video."""

    levels: UInt8[np.ndarray, " samples"]
    features: Float[np.ndarray, "video_frames feature_dim"]
    name: str = "the clip"
    """For messages."""


class Score(NamedTuple):
    """The likelihood of one clip."""

    bits: float
    """-log2 p(sound | video) of the whole clip."""
    samples: int

    @property
    def bits_per_sample(self) -> float:
        """Bits over samples."""
        return self.bits / self.samples


class Scorer:
    """The compiled scorer of one checkpoint.

    `tile` clips are scored side by side; which ones changes a score by rounding only.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        precision: Precision = "highest",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch tile of {batch_size} rows: it must be at least 1")
        self.config = config
        self.batch_size = batch_size
        self._params = params
        model = VideoToSound(config, precision)
        self._start = partial(_start, model, batch=batch_size)
        self._encode = partial(_encode, model)
        self._chunk = partial(chunk_nll, model)

    def score(self, sound: Sound) -> Score:
        """Return the likelihood of one clip; raises InputError as `score_all` does."""
        return self.score_all([sound])[0]

    def score_all(
        self,
        sounds: Sequence[Sound],
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> list[Score]:
        """Return the likelihood of each clip, in their order.

        Clips of similar length share a tile. `on_samples` is told after each chunk how many
        samples it scored. Raises InputError for a clip shorter than a big frame, levels that the
        model does not know, and features that are not one finite vector for each video frame.
        """
        for sound in sounds:
            check_sound(sound, self.config)
        by_length = sorted(range(len(sounds)), key=lambda i: -len(sounds[i].levels))
        bits = np.zeros(len(sounds))
        for first in range(0, len(sounds), self.batch_size):
            members = by_length[first : first + self.batch_size]
            bits[members] = self._tile_bits([sounds[i] for i in members], on_samples)
        return [Score(float(b), len(sound.levels)) for b, sound in zip(bits, sounds, strict=True)]

    def _tile_bits(
        self, sounds: Sequence[Sound], on_samples: Callable[[int], None]
    ) -> Float[np.ndarray, " sounds"]:
        """Score up to `tile` clips side by side, chunk by chunk."""
        per_frame = self.config.clock.samples_per_video_frame
        starts = range(
            0, max(len(sound.levels) for sound in sounds), CHUNK_VIDEO_FRAMES * per_frame
        )
        carry = self._start(self._params)
        if self.config.model.encodes_video:
            for start in starts:
                _, mask, features = self._chunk_arrays(sounds, start)
                carry = self._encode(self._params, carry, features, mask[:, ::per_frame])
        nats = np.zeros(self.batch_size)
        for start in starts:
            levels, mask, features = self._chunk_arrays(sounds, start)
            carry, chunk_sums = self._chunk(self._params, carry, levels, mask, features)
            nats += np.asarray(chunk_sums, np.float64)
            on_samples(int(np.count_nonzero(mask)))
        return nats[: len(sounds)] * BITS_PER_NAT

    def _chunk_arrays(
        self, sounds: Sequence[Sound], start: int
    ) -> tuple[
        UInt8[np.ndarray, "slots samples"],
        Bool[np.ndarray, "slots samples"],
        Float[np.ndarray, "slots video_frames feature_dim"],
    ]:
        """Cut one chunk out of every clip; what lies behind a clip's end is masked."""
        model, per_frame = self.config.model, self.config.clock.samples_per_video_frame
        shape = (self.batch_size, CHUNK_VIDEO_FRAMES * per_frame)
        levels = np.full(shape, q_zero(model.q_levels), np.uint8)
        mask = np.zeros(shape, bool)
        features = np.zeros((self.batch_size, CHUNK_VIDEO_FRAMES, model.feature_dim), np.float32)
        first = start // per_frame
        for row, sound in enumerate(sounds):
            own = sound.levels[start : start + shape[1]]
            levels[row, : len(own)] = own
            mask[row, : len(own)] = True
            seen = sound.features[first : first + CHUNK_VIDEO_FRAMES]
            features[row, : len(seen)] = seen
        return levels, mask, features


# Compiled once for a config, however many scorers there are of it.
_start = jax.jit(initial_carry, static_argnums=0, static_argnames="batch")
_encode = jax.jit(encode, static_argnums=0)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def chunk_nll(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: UInt8[Array, "#slots samples"],
    mask: Bool[Array, "#slots samples"],
    features: Float[Array, "slots video_frames feature_dim"],
) -> tuple[Carry, Float[Array, " slots"]]:
    """Return the carry after a chunk and each clip's sum of nats over it.

    Levels, mask and the carry's levels of one row are the same sound under each row's video.
    """
    known = levels.astype(jnp.int32)
    carry, logits = forward(model, params, carry, known, features)
    return carry, masked_nll(logits, known, mask)


def check_sound(sound: Sound, config: Config) -> None:
    """Raise InputError for what the model cannot score, as `Scorer.score_all` does."""
    samples, size = len(sound.levels), config.model.big_frame_size
    if samples < size:
        raise InputError(
            f"{sound.name}: {samples} samples are fewer than one big frame of {size}: give a "
            "longer clip"
        )
    if sound.levels.max() >= config.model.q_levels:
        raise InputError(
            f"{sound.name}: level {sound.levels.max()}, the model knows 0 to "
            f"{config.model.q_levels - 1}: quantize it with the model's q_levels"
        )
    video_frames = config.clock.video_frames(samples)
    check_features(sound.features, video_frames, config.model.feature_dim, sound.name)
