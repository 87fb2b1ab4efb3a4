"""Endless sound: video frames' features in, blocks of one video frame's samples out.

The carry comes in and goes out; memory does not grow. Between blocks it stays on the device. Frame
sounds each video frame as it comes. Seq and Flow, which read a whole video before its first
sample, get windows: an encoder that starts anew reads each window and gives the coarsest tier its
first state in it; the middle tier's state and the last samples go on from the window before. What
is lost against the whole video: all sight of what lies outside the window, and the coarsest tier's
memory at each window's start.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8, UInt32

from v2s_jax.errors import InputError
from v2s_jax.model import Carry
from v2s_jax.sampling.continuous_batching import put_row, row_of
from v2s_jax.sampling.degeneracy import (
    WINDOW_VIDEO_FRAMES,
    Degeneracy,
    DegeneracyDetector,
    next_seed,
)
from v2s_jax.sampling.rng import check_temperature
from v2s_jax.sampling.sampler import BLOCK_VIDEO_FRAMES, Sampler, SamplerState
from v2s_jax.validation import check_features

DEFAULT_WINDOW_VIDEO_FRAMES = 156
"""Video frames of one window of Seq and Flow: the paper's clips, about 10 s."""


class StreamCarry(NamedTuple):
    """All that the next block needs to know of the stream so far."""

    tiers: Carry
    """One row, on the device: a copy, which costs no wait. NumPy arrays are as good."""
    key: UInt32[np.ndarray, "2"]
    video_frame: int
    """The next one, counted from the start of the stream."""
    ahead: int = 0
    """Video frames from that one on that the encoder of Seq and Flow has read already."""


class Block(NamedTuple):
    """The samples of one video frame."""

    levels: UInt8[np.ndarray, " samples"]
    carry: StreamCarry
    """What follows this block begins with; it stays good whatever the stream does next."""
    degeneracy: Degeneracy | None
    """What the guard saw in the window that this block ends."""


def first_carry(sampler: Sampler, key: UInt32[np.ndarray, "2"]) -> StreamCarry:
    """Return the carry before the first video frame of a stream."""
    return StreamCarry(row_of(_nothing(sampler).carry, FIRST), key, 0)


def stream(
    sampler: Sampler,
    features: Iterable[Float[np.ndarray, " feature_dim"]],
    carry: StreamCarry,
    *,
    temperature: float = 1.0,
    window: int = DEFAULT_WINDOW_VIDEO_FRAMES,
    max_retries: int = 0,
) -> Iterator[Block]:
    """Yield a block for each video frame's features, as it comes.

    Blocks one after the other are what `Generator.generate` gives the whole clip with the same
    key and tile (Seq and Flow: if it is one window). `carry` goes on exactly: `features` begin
    with those of `carry.video_frame`, also where the encoder has read that far already, and
    `window` is as before. `max_retries` is how often a fault may be answered by going on from the last
    healthy carry with the next seed; what was given out stays. The guard's windows are counted
    from `carry`. Raises InputError for a bad temperature, window, or features.
    """
    check_temperature(temperature)
    if window < 1:
        raise InputError(f"window of {window} video frames: use at least 1")
    row = _Row(sampler, carry, temperature)
    detector, heard = DegeneracyDetector(sampler.config), list[np.ndarray]()
    detector.reset(int(carry.video_frame) * sampler.config.clock.samples_per_video_frame)
    rewind_point = carry.tiers
    for vector, ahead, begins in _in_windows(sampler, features, window, carry):
        if begins is not None:
            row.encode(begins)
        levels, degeneracy = row.block(vector), None
        heard.append(levels)
        after = row.carry(ahead)
        if len(heard) == WINDOW_VIDEO_FRAMES:
            degeneracy = detector.update(np.concatenate(heard))
            heard.clear()
            if degeneracy is not None and max_retries:
                max_retries -= 1
                degeneracy = Degeneracy(
                    degeneracy.kind, degeneracy.start_sec, degeneracy.end_sec, retried=True
                )
                after = after._replace(tiers=rewind_point, key=next_seed(after.key))
                row.go_on_from(after)
                detector.reset(detector.seen)  # the silence before it is over
            elif detector.ok:
                rewind_point = after.tiers
        yield Block(levels, after, degeneracy)


def _in_windows(
    sampler: Sampler, features: Iterable[np.ndarray], window: int, carry: StreamCarry
) -> Iterator[tuple[np.ndarray, int, np.ndarray | None]]:
    """Give each vector, how many more have been read, and at a window's first all that it holds."""
    width = sampler.config.model.feature_dim
    vectors, first, ahead = iter(features), int(carry.video_frame), int(carry.ahead)
    if not sampler.config.model.encodes_video:
        for number, vector in enumerate(vectors, first):
            check_features(vector[None], 1, width, "the stream", number)
            yield vector, 0, None
        return
    for left, vector in zip(range(ahead - 1, -1, -1), vectors, strict=False):
        yield vector[:0], left, None
    first += ahead
    while seen := list(itertools.islice(vectors, window)):
        check_features(np.stack(seen), len(seen), width, "the stream", first)
        first += len(seen)
        for place, vector in enumerate(seen):
            yield vector[:0], len(seen) - place - 1, np.stack(seen) if place == 0 else None


FIRST = np.int32(0)
"""The row of the tile that a stream is in; the others stay empty."""


class _Row:
    """The stream in the first row of a tile, on the device from block to block."""

    def __init__(self, sampler: Sampler, carry: StreamCarry, temperature: float) -> None:
        self._generator = sampler
        self._temperature = temperature
        self.go_on_from(carry)

    def go_on_from(self, carry: StreamCarry) -> None:
        """Put a carry in the place of what is there."""
        self._key, self._video_frame = carry.key, int(carry.video_frame)
        keys = np.zeros((self._generator.batch_size, 2), np.uint32)
        keys[FIRST] = carry.key
        self._stream = self._generator.start(keys)
        self._next_clip(carry.tiers)

    def carry(self, ahead: int) -> StreamCarry:
        """Return a copy, which stays when the next block uses up its buffers."""
        return StreamCarry(row_of(self._stream.carry, FIRST), self._key, self._video_frame, ahead)

    def block(self, vector: Float[np.ndarray, " _"]) -> UInt8[np.ndarray, " samples"]:
        """Sound the next video frame."""
        sampler = self._generator
        start_frame = np.zeros(sampler.batch_size, np.int32)
        start_frame[FIRST] = -self._video_frame
        # Counted anew at each block, so that no counter of the program grows.
        before = self._stream._replace(tick=jnp.int32(0), start_frame=jnp.asarray(start_frame))
        # The program of whole clips, which ends early: another one would round otherwise.
        features = np.zeros((sampler.batch_size, BLOCK_VIDEO_FRAMES, len(vector)), np.float32)
        features[FIRST, 0] = vector
        ticks = sampler.block_ticks // BLOCK_VIDEO_FRAMES
        self._stream, levels = sampler.block(before, features, self._temperature, ticks)
        self._video_frame += 1
        return levels[FIRST]

    def encode(self, window: Float[np.ndarray, "video_frames _"]) -> None:
        """Let a fresh encoder read a window; the tiers below go on as they were."""
        encoded = _nothing(self._generator)
        for first in range(0, len(window), BLOCK_VIDEO_FRAMES):
            features, seen = self._generator.empty_features()
            read = window[first : first + BLOCK_VIDEO_FRAMES]
            features[FIRST, : len(read)] = read
            seen[FIRST, : len(read)] = True
            encoded = self._generator.encode(encoded, features, seen)
        big_frame = row_of(encoded.carry, FIRST).big_frame
        self._next_clip(row_of(self._stream.carry, FIRST)._replace(big_frame=big_frame))

    def _next_clip(self, tiers: Carry) -> None:
        self._stream = self._stream._replace(carry=put_row(FIRST, tiers, self._stream.carry))


def _nothing(sampler: Sampler) -> SamplerState:
    """Return a tile of empty rows."""
    return sampler.start(np.zeros((sampler.batch_size, 2), np.uint32))
