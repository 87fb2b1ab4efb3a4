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

from v2s_jax.generate.generator import BLOCK_VIDEO_FRAMES, Generator, Request, Stream
from v2s_jax.generate.guard import Fault, Guard, join_fault, next_seed
from v2s_jax.generate.prefix import check_prefix, warm
from v2s_jax.generate.source import Source
from v2s_jax.kernels.interface import Drawn, Keep
from v2s_jax.model import Carry


class Made(NamedTuple):
    """The sound of one request."""

    levels: UInt8[np.ndarray, " samples"]
    nats: float | None
    """-ln p of what was generated, at the temperature it was drawn at; None if not asked for."""
    faults: tuple[Fault, ...]
    """What the guard saw, where it was asked to draw again."""


class Options(NamedTuple):
    """How clips are generated."""

    temperature: float = 1.0
    with_nats: bool = False
    """Whether their likelihood is kept."""
    redraws: int = 0
    """How often the guard may draw a stretch of a clip again; 0 lets it pass."""


class _Healthy(NamedTuple):
    """Where a clip can go back to."""

    done: int
    nats: float
    carry: Carry


@dataclass
class Clip:
    """A request on its way through a row."""

    number: int
    request: Request
    source: Source
    key: UInt32[np.ndarray, "2"]
    levels: UInt8[np.ndarray, " samples"]
    done: int
    """Samples that are there, the prefix included."""
    told: int = 0
    """Samples that progress has heard of."""
    placed: bool = False
    nats: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    guard: Guard | None = None
    healthy: _Healthy | None = None
    redrawn: int = 0

    @property
    def left(self) -> int:
        """Samples that are still to be generated."""
        return len(self.levels) - self.done


def open_clip(number: int, request: Request, generator: Generator) -> Clip:
    """Check a request and make it ready; nothing is read yet."""
    name = f"clip {number}"
    source = Source(request, generator.config, name)
    levels = np.empty(request.samples, np.uint8)
    done = 0
    if request.prefix is not None:
        check_prefix(request.prefix, request.samples, generator.config, name)
        done = len(request.prefix)
        levels[:done] = request.prefix
    return Clip(number, request, source, request.key, levels, done)


class Tile:
    """The rows of one generator and the clips in them."""

    def __init__(
        self, generator: Generator, take: Callable[[], Clip | None], options: Options
    ) -> None:
        self._generator = generator
        self._take = take
        self._options = options
        config = generator.config
        self._size = config.model.big_frame_size
        self._frame = config.clock.samples_per_video_frame
        self._rows: list[Clip | None] = [None] * generator.tile

    def run(self) -> Iterator[tuple[int, list[tuple[int, Made]]]]:
        """Generate until nothing is left to take.

        Yields after each block how many new samples it brought, and the clips that ended with it.
        """
        keep: Keep = "nats" if self._options.with_nats else "levels"
        stream = self._generator.start(np.zeros((len(self._rows), 2), np.uint32))
        while True:
            stream = self._fill(stream)
            if not self._placed():
                return
            place = int(stream.tick) * self._size % self._frame
            ticks = self._ticks(place)
            features = self._features()
            stream, drawn = self._generator.drawn(
                stream, features, self._options.temperature, ticks, keep=keep
            )
            self._keep(stream, drawn)
            yield self._brought(), self._ended()

    def _placed(self) -> list[tuple[int, Clip]]:
        return [(row, clip) for row, clip in enumerate(self._rows) if clip and clip.placed]

    def _fill(self, stream: Stream) -> Stream:
        """Give each free row its next clip, and place those that begin where the stream stands."""
        for row, clip in enumerate(self._rows):
            if clip is None:
                self._rows[row] = self._take()
        waiting = [(row, clip) for row, clip in enumerate(self._rows) if clip and not clip.placed]
        if waiting and not self._placed():
            place = waiting[0][1].done % self._frame
            stream = stream._replace(tick=jnp.int32(place // self._size))
        place = int(stream.tick) * self._size % self._frame
        new = [(row, clip) for row, clip in waiting if clip.done % self._frame == place]
        return self._place(stream, new) if new else stream

    def _place(self, stream: Stream, new: Sequence[tuple[int, Clip]]) -> Stream:
        """Let clips begin in their rows, with the video encoded and the prefix read."""
        generator = self._generator
        keys = np.array(stream.keys)
        for row, clip in new:
            keys[row] = clip.key
        fresh = generator.start(keys)
        first_time = [(row, clip) for row, clip in new if not clip.healthy]
        if generator.config.model.encodes_video and first_time:
            fresh = self._encode(fresh, first_time)
        for row, clip in new:
            clip.placed = True
            if clip.healthy:
                fresh = fresh._replace(carry=put_row(row, clip.healthy.carry, fresh.carry))
                continue
            if clip.done:
                fresh = fresh._replace(carry=self._warm(fresh.carry, row, clip))
            self._begin(clip, row_of(fresh.carry, row))
        rows = np.zeros(len(self._rows), bool)
        rows[[row for row, _ in new]] = True
        carry = take_rows(jnp.asarray(rows), fresh.carry, stream.carry)
        return self._aligned(stream._replace(carry=carry, keys=jnp.asarray(keys)))

    def _begin(self, clip: Clip, carry: Carry) -> None:
        clip.told = clip.done
        if self._options.redraws:
            clip.guard = Guard(self._generator.config)
            clip.guard.rewind(clip.done)
            clip.healthy = _Healthy(clip.done, 0.0, carry)

    def _aligned(self, stream: Stream) -> Stream:
        """Count video frames from now on, and each row's from the start of its clip.

        However long it runs, no counter of the program grows beyond that of its longest clip.
        """
        began = np.zeros(len(self._rows), np.int32)
        for row, clip in self._placed():
            began[row] = -(clip.done // self._frame)
        tick = int(stream.tick) % (self._frame // self._size)
        return stream._replace(tick=jnp.int32(tick), began=jnp.asarray(began))

    def _encode(self, fresh: Stream, new: Sequence[tuple[int, Clip]]) -> Stream:
        """Let the encoder read the whole video of the new clips, block by block."""
        lengths = {row: self._video_frames(clip) for row, clip in new}
        for first in range(0, max(lengths.values()), BLOCK_VIDEO_FRAMES):
            features, seen = self._generator.no_features()
            for row, clip in new:
                read = clip.source.read(first)
                clip.source.forget(min(first + BLOCK_VIDEO_FRAMES, lengths[row]))
                features[row, : len(read)] = read
                seen[row, : len(read)] = True
            fresh = self._generator.encode(fresh, features, seen)
        return fresh

    def _video_frames(self, clip: Clip) -> int:
        return self._generator.config.clock.video_frames(len(clip.levels))

    def _warm(self, carry: Carry, row: int, clip: Clip) -> Carry:
        generator = self._generator
        nothing = np.zeros(0, np.float32)

        def vectors() -> Iterator[Float[np.ndarray, " _"]]:
            for video_frame in range(generator.config.clock.video_frames(clip.done)):
                if generator.config.model.encodes_video:
                    yield nothing
                else:
                    clip.source.forget(video_frame)
                    yield clip.source.read(video_frame)[0]

        prefix = clip.levels[: clip.done]
        params = generator.folded.params
        warmed = warm(generator.model, params, row_of(carry, row), prefix, vectors())
        return put_row(row, warmed, carry)

    def _ticks(self, place: int) -> int:
        """Return the big frames to the next thing that happens, at most to the block's end."""
        ends = [BLOCK_VIDEO_FRAMES * self._frame - place]
        lefts = [clip.left for _, clip in self._placed()]
        waiting = [clip for clip in self._rows if clip and not clip.placed]
        ends.append(min(lefts) if len(lefts) == len(self._rows) else max(lefts))
        ends += [(clip.done - place) % self._frame for clip in waiting]
        ends += [
            min(clip.left, clip.guard.window_samples - clip.done % clip.guard.window_samples)
            for _, clip in self._placed()
            if clip.guard
        ]
        return -(-min(ends) // self._size)

    def _features(self) -> Float[np.ndarray, "tile block_video_frames feature_dim"]:
        """Read each row's next vectors; what lies behind a clip's end is zero and dropped.

        Variants that have seen the video before get vectors of width zero.
        """
        features, _ = self._generator.no_features()
        if self._generator.config.model.encodes_video:
            return features[..., :0]
        for row, clip in self._placed():
            now = clip.done // self._frame
            healthy = clip.healthy.done // self._frame if clip.healthy else now
            clip.source.forget(healthy)
            read = clip.source.read(now)
            features[row, : len(read)] = read
        return features

    def _keep(self, stream: Stream, drawn: Drawn) -> None:
        """Take what belongs to each clip; let the guard look where a window is full."""
        for row, clip in self._placed():
            wanted = clip.levels[clip.done : clip.done + len(drawn.levels)]
            wanted[:] = drawn.levels[: len(wanted), row]
            if drawn.nats is not None:
                clip.nats += float(np.sum(drawn.nats[: len(wanted), row], dtype=np.float64))
            clip.done += len(wanted)
            if clip.guard and (clip.left == 0 or clip.done % clip.guard.window_samples == 0):
                self._look(stream, row, clip)

    def _look(self, stream: Stream, row: int, clip: Clip) -> None:
        """Look at a clip's last window; go back to the healthy one before it, or go on from it."""
        assert clip.guard is not None and clip.healthy is not None
        fault = clip.guard.look(clip.levels[clip.guard.seen : clip.done])
        if fault is not None and clip.redrawn < self._options.redraws:
            join_fault(clip.faults, dataclasses.replace(fault, redrawn=True))
            clip.redrawn += 1
            clip.key = next_seed(clip.key)
            clip.done, clip.nats = clip.healthy.done, clip.healthy.nats
            clip.guard.rewind(clip.done)
            clip.placed = False
            return
        if fault is not None:
            join_fault(clip.faults, fault)
        if clip.guard.healthy or fault is not None:
            clip.healthy = _Healthy(clip.done, clip.nats, row_of(stream.carry, row))

    def _brought(self) -> int:
        brought = 0
        for _, clip in self._placed():
            brought += max(0, clip.done - clip.told)
            clip.told = max(clip.told, clip.done)
        return brought

    def _ended(self) -> list[tuple[int, Made]]:
        """Free the rows whose clips have ended."""
        ended = []
        for row, clip in self._placed():
            if clip.left == 0:
                nats = clip.nats if self._options.with_nats else None
                ended.append((clip.number, Made(clip.levels, nats, tuple(clip.faults))))
                self._rows[row] = None
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
def take_rows(rows: Bool[Array, " tile"], fresh: Carry, carry: Carry) -> Carry:
    """Return the carry with some rows from another."""
    return jax.tree.map(lambda new, old: jnp.where(rows[:, None], new, old), fresh, carry)
