"""Endless sound: video frames' features in, blocks of one video frame's samples out.

The carry comes in and goes out; memory does not grow. Frame sounds each video frame as it comes.
Seq and Flow, which read a whole video before its first sample, get windows: an encoder that starts
anew reads each window and gives the coarsest tier its first state in it; the middle tier's state
and the last samples go on from the window before. What is lost against the whole video: all sight
of what lies outside the window, and the coarsest tier's memory at each window's start.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
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
    """All that the next block needs to know of the stream so far, on the host."""

    tiers: Carry
    """One row."""
    key: UInt32[np.ndarray, "2"]
    video_frame: int
    """The next one, counted from the start of the stream."""


class Block(NamedTuple):
    """The samples of one video frame."""

    levels: UInt8[np.ndarray, "samples"]
    carry: StreamCarry
    """What follows this block begins with; it stays good whatever the stream does next."""
    fault: Fault | None
    """What the guard saw in the window that this block ends."""


def first_carry(generator: Generator, key: UInt32[np.ndarray, "2"]) -> StreamCarry:
    """Return the carry before the first video frame of a stream."""
    tiers = generator.start(np.zeros((generator.tile, 2), np.uint32)).carry
    return StreamCarry(_on_host(tiers), key, 0)


def stream(
    generator: Generator,
    features: Iterable[Float[np.ndarray, "feature_dim"]],
    carry: StreamCarry,
    *,
    temperature: float = 1.0,
    window: int = DEFAULT_WINDOW_VIDEO_FRAMES,
    redraws: int = 0,
) -> Iterator[Block]:
    """Yield a block for each video frame's features, as it comes.

    Blocks one after the other are what `Generator.generate` gives the whole clip with the same
    key and tile (Seq and Flow: if it is one window). `redraws` is how often a fault may be
    answered by going on from the last healthy carry with the next seed; what was given out stays.
    Raises InputError for a bad temperature, window, or features.
    """
    check_temperature(temperature)
    if window < 1:
        raise InputError(f"window of {window} video frames: use at least 1")
    guard, healthy, heard = Guard(generator.config), carry.tiers, list[np.ndarray]()
    empty = generator.start(np.zeros((generator.tile, 2), np.uint32)).carry
    for vector, begins in _in_windows(generator, features, window):
        if begins is not None:
            carry = carry._replace(tiers=_encode(generator, carry, begins))
        now, levels = _block(generator, empty, carry, vector, temperature)
        carry, fault = carry._replace(tiers=now, video_frame=carry.video_frame + 1), None
        heard.append(levels)
        if len(heard) == WINDOW_VIDEO_FRAMES:
            fault = guard.look(np.concatenate(heard))
            heard.clear()
            if fault is not None and redraws:
                redraws -= 1
                fault = Fault(fault.kind, fault.start_sec, fault.end_sec, redrawn=True)
                carry = carry._replace(tiers=healthy, key=next_seed(carry.key))
            elif guard.healthy:
                healthy = now
        yield Block(levels, carry, fault)


def _in_windows(
    generator: Generator, features: Iterable[np.ndarray], window: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Give each vector, and with the first of a window of Seq and Flow all that it holds."""
    width = generator.config.model.feature_dim
    vectors = iter(features)
    if not generator.config.model.encodes_video:
        for vector in vectors:
            check_features(vector[None], 1, width, "the stream")
            yield vector, None
        return
    while seen := list(itertools.islice(vectors, window)):
        check_features(np.stack(seen), len(seen), width, "the stream")
        for place, vector in enumerate(seen):
            yield vector[:0], np.stack(seen) if place == 0 else None


def _block(
    generator: Generator,
    empty: Carry,
    carry: StreamCarry,
    vector: Float[np.ndarray, "_"],
    temperature: float,
) -> tuple[Carry, UInt8[np.ndarray, "samples"]]:
    """Put the stream in the first row of a tile, whose others stay empty, and run one block."""
    keys = np.zeros((generator.tile, 2), np.uint32)
    keys[0] = carry.key
    began = np.zeros(generator.tile, np.int32)
    began[0] = -carry.video_frame
    features = np.zeros((generator.tile, 1, len(vector)), np.float32)
    features[0, 0] = vector
    tiers = put_row(0, carry.tiers, empty)
    before = Stream(tiers, jnp.asarray(keys), jnp.int32(0), jnp.asarray(began))
    after, levels = generator.block(before, features, temperature)
    return _on_host(after.carry), levels[0]


def _encode(
    generator: Generator, carry: StreamCarry, window: Float[np.ndarray, "video_frames _"]
) -> Carry:
    """Let a fresh encoder read a window; the tiers below go on as they were."""
    keys = np.zeros((generator.tile, 2), np.uint32)
    encoded = generator.start(keys)
    for first in range(0, len(window), BLOCK_VIDEO_FRAMES):
        features, seen = generator.no_features()
        read = window[first : first + BLOCK_VIDEO_FRAMES]
        features[0, : len(read)] = read
        seen[0, : len(read)] = True
        encoded = generator.encode(encoded, features, seen)
    return carry.tiers._replace(big_frame=_on_host(encoded.carry).big_frame)


def _on_host(carry: Carry) -> Carry:
    return jax.tree.map(np.asarray, row_of(carry, 0))
