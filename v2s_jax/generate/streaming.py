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

from v2s_jax.checks import check_features
from v2s_jax.errors import InputError
from v2s_jax.generate.filling import put_row, row_of
from v2s_jax.generate.generator import BLOCK_VIDEO_FRAMES, Generator, Stream
from v2s_jax.generate.guard import WINDOW_VIDEO_FRAMES, Fault, Guard, next_seed
from v2s_jax.generate.noise import check_temperature
from v2s_jax.model import Carry

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
    fault: Fault | None
    """What the guard saw in the window that this block ends."""


def first_carry(generator: Generator, key: UInt32[np.ndarray, "2"]) -> StreamCarry:
    """Return the carry before the first video frame of a stream."""
    return StreamCarry(row_of(_nothing(generator).carry, FIRST), key, 0)


def stream(
    generator: Generator,
    features: Iterable[Float[np.ndarray, " feature_dim"]],
    carry: StreamCarry,
    *,
    temperature: float = 1.0,
    window: int = DEFAULT_WINDOW_VIDEO_FRAMES,
    redraws: int = 0,
) -> Iterator[Block]:
    """Yield a block for each video frame's features, as it comes.

    Blocks one after the other are what `Generator.generate` gives the whole clip with the same
    key and tile (Seq and Flow: if it is one window). `carry` goes on exactly: `features` begin
    with those of `carry.video_frame`, also where the encoder has read that far already, and
    `window` is as before. `redraws` is how often a fault may be answered by going on from the last
    healthy carry with the next seed; what was given out stays. The guard's windows are counted
    from `carry`. Raises InputError for a bad temperature, window, or features.
    """
    check_temperature(temperature)
    if window < 1:
        raise InputError(f"window of {window} video frames: use at least 1")
    row = _Row(generator, carry, temperature)
    guard, heard = Guard(generator.config), list[np.ndarray]()
    guard.rewind(int(carry.video_frame) * generator.config.clock.samples_per_video_frame)
    healthy = carry.tiers
    for vector, ahead, begins in _in_windows(generator, features, window, carry):
        if begins is not None:
            row.encode(begins)
        levels, fault = row.block(vector), None
        heard.append(levels)
        after = row.carry(ahead)
        if len(heard) == WINDOW_VIDEO_FRAMES:
            fault = guard.look(np.concatenate(heard))
            heard.clear()
            if fault is not None and redraws:
                redraws -= 1
                fault = Fault(fault.kind, fault.start_sec, fault.end_sec, redrawn=True)
                after = after._replace(tiers=healthy, key=next_seed(after.key))
                row.go_on_from(after)
                guard.rewind(guard.seen)  # the silence before it is over
            elif guard.healthy:
                healthy = after.tiers
        yield Block(levels, after, fault)


def _in_windows(
    generator: Generator, features: Iterable[np.ndarray], window: int, carry: StreamCarry
) -> Iterator[tuple[np.ndarray, int, np.ndarray | None]]:
    """Give each vector, how many more have been read, and at a window's first all that it holds."""
    width = generator.config.model.feature_dim
    vectors, first, ahead = iter(features), int(carry.video_frame), int(carry.ahead)
    if not generator.config.model.encodes_video:
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

    def __init__(self, generator: Generator, carry: StreamCarry, temperature: float) -> None:
        self._generator = generator
        self._temperature = temperature
        self.go_on_from(carry)

    def go_on_from(self, carry: StreamCarry) -> None:
        """Put a carry in the place of what is there."""
        self._key, self._video_frame = carry.key, int(carry.video_frame)
        keys = np.zeros((self._generator.tile, 2), np.uint32)
        keys[FIRST] = carry.key
        self._stream = self._generator.start(keys)
        self._take(carry.tiers)

    def carry(self, ahead: int) -> StreamCarry:
        """Return a copy, which stays when the next block uses up its buffers."""
        return StreamCarry(row_of(self._stream.carry, FIRST), self._key, self._video_frame, ahead)

    def block(self, vector: Float[np.ndarray, " _"]) -> UInt8[np.ndarray, " samples"]:
        """Sound the next video frame."""
        generator = self._generator
        began = np.zeros(generator.tile, np.int32)
        began[FIRST] = -self._video_frame
        # Counted anew at each block, so that no counter of the program grows.
        before = self._stream._replace(tick=jnp.int32(0), began=jnp.asarray(began))
        # The program of whole clips, which ends early: another one would round otherwise.
        features = np.zeros((generator.tile, BLOCK_VIDEO_FRAMES, len(vector)), np.float32)
        features[FIRST, 0] = vector
        ticks = generator.block_ticks // BLOCK_VIDEO_FRAMES
        self._stream, levels = generator.block(before, features, self._temperature, ticks)
        self._video_frame += 1
        return levels[FIRST]

    def encode(self, window: Float[np.ndarray, "video_frames _"]) -> None:
        """Let a fresh encoder read a window; the tiers below go on as they were."""
        encoded = _nothing(self._generator)
        for first in range(0, len(window), BLOCK_VIDEO_FRAMES):
            features, seen = self._generator.no_features()
            read = window[first : first + BLOCK_VIDEO_FRAMES]
            features[FIRST, : len(read)] = read
            seen[FIRST, : len(read)] = True
            encoded = self._generator.encode(encoded, features, seen)
        big_frame = row_of(encoded.carry, FIRST).big_frame
        self._take(row_of(self._stream.carry, FIRST)._replace(big_frame=big_frame))

    def _take(self, tiers: Carry) -> None:
        self._stream = self._stream._replace(carry=put_row(FIRST, tiers, self._stream.carry))


def _nothing(generator: Generator) -> Stream:
    """Return a tile of empty rows."""
    return generator.start(np.zeros((generator.tile, 2), np.uint32))
