"""Many clips through one compiled program: a row whose clip has ended goes on with the next clip.

All rows stand at the same place inside a video frame, each in a video frame of its own; a row is
so refilled at the next such place where its clip begins: at once, or less than a video frame
later. Noise is counted from the start of the row's clip, features are read by the row, and rows
never meet in the program: a clip's levels are the same in any row, company and order.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from v2s_jax.kernels.interface import BlockOutputs, OutputLevel
from v2s_jax.model import Carry
from v2s_jax.sampling.degeneracy import Degeneracy, DegeneracyDetector, merge_degeneracy, next_seed
from v2s_jax.sampling.feature_buffer import FeatureBuffer
from v2s_jax.sampling.prefill import check_prefix, prefill
from v2s_jax.sampling.sampler import BLOCK_VIDEO_FRAMES, Request, Sampler, SamplerState


class GenerationResult(NamedTuple):
    """The sound of one request."""

    levels: UInt8[np.ndarray, " samples"]
    nats: float | None
    """-ln p of what was generated, at the temperature it was drawn at; None if not asked for."""
    degeneracies: tuple[Degeneracy, ...]
    """What the guard saw, where it was asked to draw again."""


class GenerationOptions(NamedTuple):
    """How clips are generated."""

    temperature: float = 1.0
    with_nats: bool = False
    """Whether their likelihood is kept."""
    max_retries: int = 0
    """How often the guard may draw a stretch of a clip again; 0 lets it pass."""


class _RewindPoint(NamedTuple):
    """Where a clip can go back to."""

    done: int
    nats: float
    carry: Carry


@dataclass
class Clip:
    """A request on its way through a row."""

    number: int
    request: Request
    source: FeatureBuffer
    key: UInt32[np.ndarray, "2"]
    levels: UInt8[np.ndarray, " samples"]
    done: int
    """Samples that are there, the prefix included."""
    reported: int = 0
    """Samples that progress has heard of."""
    active: bool = False
    nats: float = 0.0
    degeneracies: list[Degeneracy] = field(default_factory=list)
    detector: DegeneracyDetector | None = None
    rewind_point: _RewindPoint | None = None
    retried: int = 0

    @property
    def left(self) -> int:
        """Samples that are still to be generated."""
        return len(self.levels) - self.done


def open_clip(number: int, request: Request, sampler: Sampler) -> Clip:
    """Check a request and make it ready; nothing is read yet."""
    name = f"clip {number}"
    source = FeatureBuffer(request, sampler.config, name)
    levels = np.empty(request.samples, np.uint8)
    done = 0
    if request.prefix is not None:
        check_prefix(request.prefix, request.samples, sampler.config, name)
        done = len(request.prefix)
        levels[:done] = request.prefix
    return Clip(number, request, source, request.key, levels, done)


class ContinuousBatcher:
    """The rows of one generator and the clips in them."""

    def __init__(
        self, sampler: Sampler, take: Callable[[], Clip | None], options: GenerationOptions
    ) -> None:
        self._generator = sampler
        self._next_clip = take
        self._options = options
        config = sampler.config
        self._size = config.model.big_frame_size
        self._frame = config.clock.samples_per_video_frame
        self._slots: list[Clip | None] = [None] * sampler.batch_size

    def run(self) -> Iterator[tuple[int, list[tuple[int, GenerationResult]]]]:
        """Generate until nothing is left to take.

        Yields after each block how many new samples it brought, and the clips that ended with it.
        """
        keep: OutputLevel = "nats" if self._options.with_nats else "levels"
        stream = self._generator.start(np.zeros((len(self._slots), 2), np.uint32))
        while True:
            stream = self._admit(stream)
            if not self._active():
                return
            place = int(stream.tick) * self._size % self._frame
            ticks = self._ticks(place)
            features = self._features()
            stream, drawn = self._generator.drawn(
                stream, features, self._options.temperature, ticks, keep=keep
            )
            self._collect(stream, drawn)
            yield self._new_samples(), self._retire_finished()

    def _active(self) -> list[tuple[int, Clip]]:
        return [(row, clip) for row, clip in enumerate(self._slots) if clip and clip.active]

    def _admit(self, stream: SamplerState) -> SamplerState:
        """Give each free row its next clip, and place those that begin where the stream stands."""
        for row, clip in enumerate(self._slots):
            if clip is None:
                self._slots[row] = self._next_clip()
        waiting = [(row, clip) for row, clip in enumerate(self._slots) if clip and not clip.active]
        if waiting and not self._active():
            place = waiting[0][1].done % self._frame
            stream = stream._replace(tick=jnp.int32(place // self._size))
        place = int(stream.tick) * self._size % self._frame
        new = [(row, clip) for row, clip in waiting if clip.done % self._frame == place]
        return self._start_slots(stream, new) if new else stream

    def _start_slots(self, stream: SamplerState, new: Sequence[tuple[int, Clip]]) -> SamplerState:
        """Let clips begin in their rows, with the video encoded and the prefix read."""
        sampler = self._generator
        keys = np.array(stream.keys)
        for row, clip in new:
            keys[row] = clip.key
        fresh = sampler.start(keys)
        first_time = [(row, clip) for row, clip in new if not clip.rewind_point]
        if sampler.config.model.encodes_video and first_time:
            fresh = self._encode(fresh, first_time)
        for row, clip in new:
            clip.active = True
            if clip.rewind_point:
                fresh = fresh._replace(carry=put_row(row, clip.rewind_point.carry, fresh.carry))
                continue
            if clip.done:
                fresh = fresh._replace(carry=self._prefill(fresh.carry, row, clip))
            self._begin(clip, row_of(fresh.carry, row))
        rows = np.zeros(len(self._slots), bool)
        rows[[row for row, _ in new]] = True
        carry = take_rows(jnp.asarray(rows), fresh.carry, stream.carry)
        return self._aligned(stream._replace(carry=carry, keys=jnp.asarray(keys)))

    def _begin(self, clip: Clip, carry: Carry) -> None:
        clip.reported = clip.done
        if self._options.max_retries:
            clip.detector = DegeneracyDetector(self._generator.config)
            clip.detector.reset(clip.done)
            clip.rewind_point = _RewindPoint(clip.done, 0.0, carry)

    def _aligned(self, stream: SamplerState) -> SamplerState:
        """Count video frames from now on, and each row's from the start of its clip.

        However long it runs, no counter of the program grows beyond that of its longest clip.
        """
        start_frame = np.zeros(len(self._slots), np.int32)
        for row, clip in self._active():
            start_frame[row] = -(clip.done // self._frame)
        tick = int(stream.tick) % (self._frame // self._size)
        return stream._replace(tick=jnp.int32(tick), start_frame=jnp.asarray(start_frame))

    def _encode(self, fresh: SamplerState, new: Sequence[tuple[int, Clip]]) -> SamplerState:
        """Let the encoder read the whole video of the new clips, block by block."""
        lengths = {row: self._video_frames(clip) for row, clip in new}
        for first in range(0, max(lengths.values()), BLOCK_VIDEO_FRAMES):
            features, seen = self._generator.empty_features()
            for row, clip in new:
                read = clip.source.read(first)
                clip.source.discard_before(min(first + BLOCK_VIDEO_FRAMES, lengths[row]))
                features[row, : len(read)] = read
                seen[row, : len(read)] = True
            fresh = self._generator.encode(fresh, features, seen)
        return fresh

    def _video_frames(self, clip: Clip) -> int:
        return self._generator.config.clock.video_frames(len(clip.levels))

    def _prefill(self, carry: Carry, row: int, clip: Clip) -> Carry:
        sampler = self._generator
        nothing = np.zeros(0, np.float32)

        def vectors() -> Iterator[Float[np.ndarray, " _"]]:
            for video_frame in range(sampler.config.clock.video_frames(clip.done)):
                if sampler.config.model.encodes_video:
                    yield nothing
                else:
                    clip.source.discard_before(video_frame)
                    yield clip.source.read(video_frame)[0]

        prefix = clip.levels[: clip.done]
        params = sampler.folded.params
        warmed = prefill(sampler.model, params, row_of(carry, row), prefix, vectors())
        return put_row(row, warmed, carry)

    def _ticks(self, place: int) -> int:
        """Return the big frames to the next thing that happens, at most to the block's end."""
        ends = [BLOCK_VIDEO_FRAMES * self._frame - place]
        lefts = [clip.left for _, clip in self._active()]
        waiting = [clip for clip in self._slots if clip and not clip.active]
        ends.append(min(lefts) if len(lefts) == len(self._slots) else max(lefts))
        ends += [(clip.done - place) % self._frame for clip in waiting]
        ends += [
            min(clip.left, clip.detector.window_samples - clip.done % clip.detector.window_samples)
            for _, clip in self._active()
            if clip.detector
        ]
        return -(-min(ends) // self._size)

    def _features(self) -> Float[np.ndarray, "slots block_video_frames feature_dim"]:
        """Read each row's next vectors; what lies behind a clip's end is zero and dropped.

        Variants that have seen the video before get vectors of width zero.
        """
        features, _ = self._generator.empty_features()
        if self._generator.config.model.encodes_video:
            return features[..., :0]
        for row, clip in self._active():
            now = clip.done // self._frame
            rewind_point = clip.rewind_point.done // self._frame if clip.rewind_point else now
            clip.source.discard_before(rewind_point)
            read = clip.source.read(now)
            features[row, : len(read)] = read
        return features

    def _collect(self, stream: SamplerState, drawn: BlockOutputs) -> None:
        """Take what belongs to each clip; let the guard look where a window is full."""
        for row, clip in self._active():
            wanted = clip.levels[clip.done : clip.done + len(drawn.levels)]
            wanted[:] = drawn.levels[: len(wanted), row]
            if drawn.nats is not None:
                clip.nats += float(np.sum(drawn.nats[: len(wanted), row], dtype=np.float64))
            clip.done += len(wanted)
            if clip.detector and (clip.left == 0 or clip.done % clip.detector.window_samples == 0):
                self._check_health(stream, row, clip)

    def _check_health(self, stream: SamplerState, row: int, clip: Clip) -> None:
        """Look at a clip's last window; go back to the healthy one before it, or go on from it."""
        assert clip.detector is not None and clip.rewind_point is not None
        degeneracy = clip.detector.update(clip.levels[clip.detector.seen : clip.done])
        if degeneracy is not None and clip.retried < self._options.max_retries:
            merge_degeneracy(clip.degeneracies, dataclasses.replace(degeneracy, retried=True))
            clip.retried += 1
            clip.key = next_seed(clip.key)
            clip.done, clip.nats = clip.rewind_point.done, clip.rewind_point.nats
            clip.detector.reset(clip.done)
            clip.active = False
            return
        if degeneracy is not None:
            merge_degeneracy(clip.degeneracies, degeneracy)
        if clip.detector.ok or degeneracy is not None:
            clip.rewind_point = _RewindPoint(clip.done, clip.nats, row_of(stream.carry, row))

    def _new_samples(self) -> int:
        brought = 0
        for _, clip in self._active():
            brought += max(0, clip.done - clip.reported)
            clip.reported = max(clip.reported, clip.done)
        return brought

    def _retire_finished(self) -> list[tuple[int, GenerationResult]]:
        """Free the rows whose clips have ended."""
        ended = []
        for row, clip in self._active():
            if clip.left == 0:
                nats = clip.nats if self._options.with_nats else None
                ended.append(
                    (clip.number, GenerationResult(clip.levels, nats, tuple(clip.degeneracies)))
                )
                self._slots[row] = None
        return ended


@jax.jit
def row_of(carry: Carry, row: Int[Array, ""] | int) -> Carry:
    """Return a copy of one row."""
    return jax.tree.map(lambda leaf: leaf[row][None], carry)


@jax.jit
def put_row(row: Int[Array, ""] | int, one: Carry, carry: Carry) -> Carry:
    """Return the carry with one row replaced."""
    return jax.tree.map(lambda new, leaf: leaf.at[row].set(new[0]), one, carry)


@jax.jit
def take_rows(rows: Bool[Array, " slots"], fresh: Carry, carry: Carry) -> Carry:
    """Return the carry with some rows from another."""
    return jax.tree.map(lambda new, old: jnp.where(rows[:, None], new, old), fresh, carry)
