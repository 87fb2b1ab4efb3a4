"""Endless audio: features of video frames in, blocks of one video frame's samples out.

The carry goes in and comes out; memory does not grow. Between blocks the carry stays on the device.

Frame generates each video frame's audio as soon as its features arrive. Aligned does so when the
`lookahead` video frames after it have arrived as well: its output is late by as many.

Seq and Flow read a whole video before the first sample, so they get windows: a fresh encoder reads
each window and gives the coarsest tier its initial state; the middle tier's state and the last
samples carry on from the window before. Compared with the whole video they lose all context outside
the window, and the coarsest tier's memory at each window's start.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8, UInt32

from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import BlockOutputs
from v2s_jax.model import Carry
from v2s_jax.sampling.continuous_batching import get_slot, put_slot
from v2s_jax.sampling.degeneracy import (
    WINDOW_VIDEO_FRAMES,
    Degeneracy,
    DegeneracyDetector,
    next_seed,
)
from v2s_jax.sampling.rng import check_temperature
from v2s_jax.sampling.sampler import Sampler
from v2s_jax.sampling.types import BLOCK_VIDEO_FRAMES, SamplerState
from v2s_jax.validation import check_features

DEFAULT_WINDOW_VIDEO_FRAMES = 156
"""Video frames of one window of Seq and Flow: the paper's clips, about 10 s."""

SLOT = np.int32(0)
"""The sampler's slot that a stream uses; the others stay empty."""


class StreamCarry(NamedTuple):
    """Everything that the next block depends on."""

    tiers: Carry
    """A batch of one, on the device: a copy, which does not wait. NumPy arrays work as well."""
    key: UInt32[np.ndarray, "2"]
    video_frame: int
    """The next one, counted from the start of the stream."""
    frames_ahead: int = 0
    """Video frames from that one on that Seq, Flow and Aligned have read already."""
    context: Float[np.ndarray, "context feature_dim"] | None = None
    """For Aligned: features of the `frames_ahead` video frames, and of the `context_past` before
    them; None at the start of the stream."""


class Block(NamedTuple):
    """The samples of one video frame."""

    levels: UInt8[np.ndarray, " samples"]
    carry: StreamCarry
    """The carry after this block; it stays valid whatever the stream does next."""
    degeneracy: Degeneracy | None
    """Set if this block ends a degenerate window."""


def first_carry(sampler: Sampler, key: UInt32[np.ndarray, "2"]) -> StreamCarry:
    """Return the carry before the first video frame of a stream."""
    return StreamCarry(get_slot(_empty_state(sampler).carry, SLOT), key, 0)


def stream(
    sampler: Sampler,
    features: Iterable[Float[np.ndarray, " feature_dim"]],
    carry: StreamCarry,
    *,
    temperature: float = 1.0,
    window: int = DEFAULT_WINDOW_VIDEO_FRAMES,
    max_retries: int = 0,
) -> Iterator[Block]:
    """Yield a block for each video frame's features, as they come; Aligned waits for its lookahead.

    The blocks together are what `generate` returns for the whole clip with the same key and batch
    size (Seq and Flow: if it fits one window).

    Args:
        sampler: Uses its first slot only.
        features: Start with those of `carry.video_frame`, even if the model has read further
            already.
        carry: `first_carry`, or that of an earlier block, which is continued exactly.
        temperature: Divides the logits.
        window: Video frames of a window of Seq and Flow; must stay the same when continuing.
        max_retries: How often a degenerate window is answered by going on from the carry of the
            last good one with the next seed; audio already yielded stays. Detector windows are
            counted from `carry`.

    Raises:
        InputError: For a bad temperature, window, or features.
    """
    check_temperature(temperature)
    if window < 1:
        raise InputError(f"window of {window} video frames: use at least 1")
    slot = _StreamSlot(sampler, carry, temperature)
    detector, checked = DegeneracyDetector(sampler.config), list[np.ndarray]()
    expected_db = list[np.ndarray]()
    detector.reset(int(carry.video_frame) * sampler.config.clock.samples_per_video_frame)
    rewind_point = carry.tiers
    for vectors, frames_ahead, new_window in _split_windows(sampler, features, window, carry):
        if new_window is not None:
            # A retry goes on under the video of this window, not of the one before.
            rewind_point = rewind_point._replace(big_frame=slot.encode(new_window))
        outputs, degeneracy = slot.generate(vectors), None
        levels = np.asarray(outputs.levels)[:, SLOT]
        checked.append(levels)
        if outputs.loudness_db is not None:
            expected_db.append(outputs.loudness_db[:1, SLOT])
        after = slot.carry(frames_ahead, vectors)
        if len(checked) == WINDOW_VIDEO_FRAMES:
            expected = np.concatenate(expected_db) if expected_db else None
            degeneracy = detector.update(np.concatenate(checked), expected)
            checked.clear()
            expected_db.clear()
            if degeneracy is not None and max_retries:
                max_retries -= 1
                degeneracy = dataclasses.replace(degeneracy, retried=True)
                after = after._replace(tiers=rewind_point, key=next_seed(after.key))
                slot.set_carry(after)
                detector.reset(detector.position)  # silent windows count from here again
            elif detector.ok:
                rewind_point = after.tiers
        yield Block(levels, after, degeneracy)


def _split_windows(
    sampler: Sampler, features: Iterable[np.ndarray], window: int, carry: StreamCarry
) -> Iterator[tuple[np.ndarray, int, np.ndarray | None]]:
    """Yield what the coarsest tier reads of each video frame, and how many more have been read.

    For Seq and Flow, also the whole window at its start.
    """
    width = sampler.config.model.feature_dim
    vectors = iter(features)
    first, frames_ahead = int(carry.video_frame), int(carry.frames_ahead)
    if not sampler.config.model.encodes_video:
        for read_along, frames_ahead in _slide_context(sampler, vectors, carry):
            yield read_along, frames_ahead, None
        return
    nothing = np.zeros((1, 0), np.float32)
    for left, _ in zip(range(frames_ahead - 1, -1, -1), vectors, strict=False):
        yield nothing, left, None
    first += frames_ahead
    while read := list(itertools.islice(vectors, window)):
        stacked = np.stack(read)
        check_features(stacked, len(read), width, "the stream", first)
        first += len(read)
        for i in range(len(read)):
            yield nothing, len(read) - i - 1, stacked if i == 0 else None


def _slide_context(
    sampler: Sampler, vectors: Iterator[Float[np.ndarray, " feature_dim"]], carry: StreamCarry
) -> Iterator[tuple[Float[np.ndarray, "window feature_dim"], int]]:
    """Yield each video frame's window as soon as its last video frame has come, and how many of
    the next ones have come.

    As in `window_frames`, the first and the last video frame stand for those beyond the ends.
    """
    model, frames_ahead = sampler.config.model, int(carry.frames_ahead)
    window = deque[np.ndarray](() if carry.context is None else carry.context, maxlen=model.window)
    remaining = frames_ahead  # video frames that have come, but not their whole window
    new = itertools.islice(vectors, frames_ahead, None)
    for video_frame, vector in enumerate(new, int(carry.video_frame) + frames_ahead):
        check_features(vector[None], 1, model.feature_dim, "the stream", video_frame)
        if not window:
            window.extend([vector] * model.context_past)
        window.append(vector)
        remaining += 1
        if remaining > model.context_future:
            remaining -= 1
            yield np.stack(window), remaining
    for _ in range(model.context_future):
        if not window:
            return
        window.append(window[-1])
        if len(window) == model.window and remaining:
            remaining -= 1
            yield np.stack(window), remaining


class _StreamSlot:
    """The slot of a sampler that generates a stream; its state stays on the device."""

    def __init__(self, sampler: Sampler, carry: StreamCarry, temperature: float) -> None:
        self._sampler = sampler
        self._temperature = temperature
        self.set_carry(carry)

    def set_carry(self, carry: StreamCarry) -> None:
        """Continue from this carry."""
        self._key, self._video_frame = carry.key, int(carry.video_frame)
        keys = np.zeros((self._sampler.batch_size, 2), np.uint32)
        keys[SLOT] = carry.key
        self._state = self._sampler.init_state(keys)
        self._set_tiers(carry.tiers)

    def carry(self, frames_ahead: int, vectors: Float[np.ndarray, "window _"]) -> StreamCarry:
        """Return a copy, which stays valid when the next block donates the state."""
        tiers, model = get_slot(self._state.carry, SLOT), self._sampler.config.model
        context = vectors[1 : 1 + model.context_past + frames_ahead] if model.window > 1 else None
        return StreamCarry(tiers, self._key, self._video_frame, frames_ahead, context)

    def generate(self, vectors: Float[np.ndarray, "window _"]) -> BlockOutputs:
        """Generate the next video frame's samples, those of `SLOT` among others."""
        sampler = self._sampler
        start_frame = np.zeros(sampler.batch_size, np.int32)
        start_frame[SLOT] = -self._video_frame
        # Every block counts from 0 again, so that no counter of the program grows.
        counters = jax.device_put({"tick": np.int32(0), "start_frame": start_frame})
        before = self._state._replace(**counters)
        # The program of whole clips, stopped early: a program of its own would round differently.
        block_window = BLOCK_VIDEO_FRAMES + len(vectors) - 1
        features = np.zeros((sampler.batch_size, block_window, vectors.shape[1]), np.float32)
        features[SLOT, : len(vectors)] = vectors
        ticks = sampler.block_ticks // BLOCK_VIDEO_FRAMES
        self._state, outputs = sampler.generate_block(before, features, self._temperature, ticks)
        self._video_frame += 1
        return outputs

    def encode(self, window: Float[np.ndarray, "video_frames _"]) -> Float[Array, "1 state"]:
        """Read a window with a fresh encoder, and return the coarsest tier's new state.

        The finer tiers keep theirs.
        """
        encoded = _empty_state(self._sampler)
        for first in range(0, len(window), BLOCK_VIDEO_FRAMES):
            block = window[first : first + BLOCK_VIDEO_FRAMES]
            encoded = self._sampler.encode(encoded, {int(SLOT): block})
        big_frame = get_slot(encoded.carry, SLOT).big_frame
        self._set_tiers(get_slot(self._state.carry, SLOT)._replace(big_frame=big_frame))
        return big_frame

    def _set_tiers(self, tiers: Carry) -> None:
        self._state = self._state._replace(carry=put_slot(SLOT, tiers, self._state.carry))


def _empty_state(sampler: Sampler) -> SamplerState:
    return sampler.init_state(np.zeros((sampler.batch_size, 2), np.uint32))
