"""Continuous batching: many clips through one compiled program with a fixed number of slots.

A slot whose clip has ended takes the next clip at once, while the other slots go on, as inference
servers do for requests of different lengths. A clip passes through these states:

    queued --take--> waiting --start--> active --last sample--> finished
                        ^                  |
                        +--- degenerate ---+    only with `max_retries`: back to the last good
                                                window, with the next seed

Two things make this more than a loop over slots.

Phase. The program has one counter of big frames for all slots, and computes noise and visual gates
per video frame. So all active slots must be at the same position *inside* their video frames: the
phase. A waiting clip starts when the phase is that of its first sample to generate: 0 without a
prefix, `len(prefix) % samples_per_video_frame` with one. Until then its slot computes garbage that
nobody reads. Blocks end where some clip ends or can start (`_ticks_until_next_event`), so a clip
waits for less than one video frame.

Independence. A clip's levels must not depend on the other clips, its slot, or the order. Noise is
counted from the clip's own first video frame (`SamplerState.start_frame`), features are read per
slot, and no operation of the program mixes slots.
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
from v2s_jax.sampling.sampler import Sampler
from v2s_jax.sampling.types import (
    BLOCK_VIDEO_FRAMES,
    GenerationOptions,
    GenerationResult,
    Request,
    SamplerState,
)


class _RewindPoint(NamedTuple):
    """The end of a clip's last good window: where a retry continues."""

    done: int
    nll: float
    carry: Carry


@dataclass
class Clip:
    """A request and how far it is."""

    index: int
    request: Request
    features: FeatureBuffer
    key: UInt32[np.ndarray, "2"]
    levels: UInt8[np.ndarray, " samples"]
    done: int
    """Samples generated so far, the prefix included. A retry takes some back."""
    active: bool = False
    """Whether its slot generates it; False while it waits for the phase."""
    nll: float = 0.0
    degeneracies: list[Degeneracy] = field(default_factory=list)
    expected_db: np.ndarray | None = None
    """Loudness that the model expects of each video frame so far."""
    detector: DegeneracyDetector | None = None
    """With `max_retries`, from the first start on."""
    rewind_point: _RewindPoint | None = None
    """Set together with `detector`."""
    retries: int = 0

    @property
    def remaining(self) -> int:
        """Samples still to generate."""
        return len(self.levels) - self.done


def open_clip(index: int, request: Request, sampler: Sampler) -> Clip:
    """Check a request; its features are not read yet."""
    name = f"clip {index}"
    features = FeatureBuffer(request, sampler.config, name)
    levels = np.empty(request.samples, np.uint8)
    done = 0
    if request.prefix is not None:
        check_prefix(request.prefix, request.samples, sampler.config, name)
        done = len(request.prefix)
        levels[:done] = request.prefix
    return Clip(index, request, features, request.key, levels, done)


class ContinuousBatcher:
    """Runs clips through the slots of one sampler."""

    def __init__(
        self, sampler: Sampler, next_clip: Callable[[], Clip | None], options: GenerationOptions
    ) -> None:
        self._sampler = sampler
        self._next_clip = next_clip
        self._options = options
        config = sampler.config
        self._big_frame = config.model.big_frame_size
        self._video_frame = config.clock.samples_per_video_frame
        self._slots: list[Clip | None] = [None] * sampler.batch_size

    def run(self) -> Iterator[tuple[int, list[tuple[int, GenerationResult]]]]:
        """Generate until `next_clip` returns None and all slots are empty.

        Yields after each block the number of new samples, less those that are to be generated
        again, and the clips that have ended.
        """
        keep: OutputLevel = "nll" if self._options.with_nll else "levels"
        state = self._sampler.init_state(np.zeros((len(self._slots), 2), np.uint32))
        while True:
            state = self._admit(state)
            if not self._active():
                return
            phase = self._phase(state)
            assert all(clip.done % self._video_frame == phase for _, clip in self._active())
            ticks = self._ticks_until_next_event(phase)
            state, outputs = self._sampler.generate_block(
                state, self._read_features(), self._options.temperature, ticks, keep=keep
            )
            yield self._collect(state, outputs), self._retire_finished()

    def _active(self) -> list[tuple[int, Clip]]:
        return [(slot, clip) for slot, clip in enumerate(self._slots) if clip and clip.active]

    def _waiting(self) -> list[tuple[int, Clip]]:
        return [(slot, clip) for slot, clip in enumerate(self._slots) if clip and not clip.active]

    def _phase(self, state: SamplerState) -> int:
        """Return the position of all active slots inside their video frames, in samples."""
        return int(state.tick) * self._big_frame % self._video_frame

    def _admit(self, state: SamplerState) -> SamplerState:
        """Fill free slots with queued clips, and start the waiting clips whose phase it is."""
        for slot, clip in enumerate(self._slots):
            if clip is None:
                self._slots[slot] = self._next_clip()
        waiting = self._waiting()
        if waiting and not self._active():
            # Nobody depends on the counter: jump to the phase of a waiting clip.
            phase = waiting[0][1].done % self._video_frame
            state = state._replace(tick=jax.device_put(np.int32(phase // self._big_frame)))
        phase = self._phase(state)
        ready = [(slot, clip) for slot, clip in waiting if clip.done % self._video_frame == phase]
        return self._start_slots(state, ready) if ready else state

    def _start_slots(self, state: SamplerState, ready: Sequence[tuple[int, Clip]]) -> SamplerState:
        """Make clips active, with the video encoded and the prefix prefilled."""
        keys = np.array(state.keys)
        for slot, clip in ready:
            keys[slot] = clip.key
        # Initial carries for all slots; at the end only those of `ready` are taken over.
        fresh = self._sampler.init_state(keys)
        first_start = [(slot, clip) for slot, clip in ready if not clip.rewind_point]
        if self._sampler.config.model.encodes_video and first_start:
            fresh = self._encode(fresh, first_start)
        carry = fresh.carry
        for slot, clip in ready:
            clip.active = True
            if clip.rewind_point:  # a retry
                carry = put_slot(slot, clip.rewind_point.carry, carry)
                continue
            if clip.done:
                carry = self._prefill(carry, slot, clip)
            if self._options.max_retries:
                clip.detector = DegeneracyDetector(self._sampler.config)
                clip.detector.reset(clip.done)
                clip.rewind_point = _RewindPoint(clip.done, 0.0, get_slot(carry, slot))
        started = np.zeros(len(self._slots), bool)
        started[[slot for slot, _ in ready]] = True
        carry = merge_slots(jax.device_put(started), carry, state.carry)
        return self._restart_counters(state._replace(carry=carry, keys=jax.device_put(keys)))

    def _restart_counters(self, state: SamplerState) -> SamplerState:
        """Count video frames from 0 again, and give each slot its clip's first frame on that count.

        No counter on the device ever exceeds the length of the longest clip, however long it runs.
        """
        start_frame = np.zeros(len(self._slots), np.int32)
        for slot, clip in self._active():
            start_frame[slot] = -(clip.done // self._video_frame)
        tick = int(state.tick) % (self._video_frame // self._big_frame)
        return state._replace(
            tick=jax.device_put(np.int32(tick)), start_frame=jax.device_put(start_frame)
        )

    def _encode(self, fresh: SamplerState, clips: Sequence[tuple[int, Clip]]) -> SamplerState:
        """Run the encoder of Seq and Flow over the clips' whole videos, block by block."""
        clock = self._sampler.config.clock
        lengths = {slot: clock.video_frames(len(clip.levels)) for slot, clip in clips}
        for first in range(0, max(lengths.values()), BLOCK_VIDEO_FRAMES):
            vectors = {slot: clip.features.read(first) for slot, clip in clips}
            fresh = self._sampler.encode(fresh, vectors)
            for slot, clip in clips:
                clip.features.discard_before(min(first + BLOCK_VIDEO_FRAMES, lengths[slot]))
        return fresh

    def _prefill(self, carry: Carry, slot: int, clip: Clip) -> Carry:
        sampler = self._sampler
        no_features = np.zeros((1, 0), np.float32)

        def windows() -> Iterator[Float[np.ndarray, "window _"]]:
            for video_frame in range(sampler.config.clock.video_frames(clip.done)):
                if sampler.config.model.encodes_video:
                    yield no_features
                else:
                    clip.features.discard_before(video_frame)
                    yield clip.features.read(video_frame)[: sampler.config.model.window]

        prefix = clip.levels[: clip.done]
        params = sampler.folded.params
        after = prefill(sampler.model, params, get_slot(carry, slot), prefix, windows())
        return put_slot(slot, after, carry)

    def _ticks_until_next_event(self, phase: int) -> int:
        """Return how many big frames to generate: up to the first of these events.

        The features of the block are used up; a clip ends (while some slot is empty: all clips,
        since nothing waits for the slot); a waiting clip can start; a detector's window is full.
        """
        events = [BLOCK_VIDEO_FRAMES * self._video_frame - phase]
        remaining = [clip.remaining for _, clip in self._active()]
        events.append(min(remaining) if len(remaining) == len(self._slots) else max(remaining))
        events += [(clip.done - phase) % self._video_frame for _, clip in self._waiting()]
        events += [
            min(clip.remaining, clip.detector.samples_to_window_end(clip.done))
            for _, clip in self._active()
            if clip.detector
        ]
        assert min(events) > 0
        return -(-min(events) // self._big_frame)

    def _read_features(self) -> Float[np.ndarray, "slots block_window feature_dim"]:
        """Read each slot's next window; zeros behind a clip's end.

        The width is zero for Seq and Flow, whose encoder has read the video already.
        """
        features = self._sampler.empty_features()
        if self._sampler.config.model.encodes_video:
            return features[..., :0]
        for slot, clip in self._active():
            # A retry reads again from its rewind point on.
            keep_from = clip.rewind_point.done if clip.rewind_point else clip.done
            clip.features.discard_before(keep_from // self._video_frame)
            vectors = clip.features.read(clip.done // self._video_frame)
            features[slot, : len(vectors)] = vectors
        return features

    def _collect(self, state: SamplerState, outputs: BlockOutputs) -> int:
        """Copy each clip's samples from the block; check those whose detector window is full."""
        new_samples = 0
        for slot, clip in self._active():
            before = clip.done
            target = clip.levels[clip.done : clip.done + len(outputs.levels)]
            target[:] = outputs.levels[: len(target), slot]
            if outputs.nll is not None:
                clip.nll += float(np.sum(outputs.nll[: len(target), slot], dtype=np.float64))
            if outputs.loudness_db is not None:
                self._keep_expected(clip, len(target), outputs.loudness_db[:, slot])
            clip.done += len(target)
            if clip.detector and (
                clip.remaining == 0 or clip.done % clip.detector.window_samples == 0
            ):
                self._check_health(state, slot, clip)
            new_samples += clip.done - before
        return new_samples

    def _keep_expected(self, clip: Clip, samples: int, loudness_db: np.ndarray) -> None:
        """Keep the loudness that is expected of the next samples' video frames."""
        first = clip.done // self._video_frame
        count = -(-(clip.done + samples) // self._video_frame) - first
        if clip.expected_db is None:
            video_frames = -(-len(clip.levels) // self._video_frame)
            clip.expected_db = np.zeros(video_frames, np.float32)
            clip.expected_db[:first] = np.inf  # a prefix, which is as it is
        clip.expected_db[first : first + count] = loudness_db[:count]

    def _check_health(self, state: SamplerState, slot: int, clip: Clip) -> None:
        """Check a clip's last window: rewind if it is degenerate, else move the rewind point."""
        assert clip.detector is not None and clip.rewind_point is not None
        expected_db = clip.expected_db
        if expected_db is not None:
            expected_db = expected_db[clip.detector.video_frames(clip.done)]
        window = clip.levels[clip.detector.position : clip.done]
        degeneracy = clip.detector.update(window, expected_db)
        if degeneracy is not None and clip.retries < self._options.max_retries:
            merge_degeneracy(clip.degeneracies, dataclasses.replace(degeneracy, retried=True))
            clip.retries += 1
            clip.key = next_seed(clip.key)
            clip.done, clip.nll = clip.rewind_point.done, clip.rewind_point.nll
            clip.detector.reset(clip.done)
            clip.active = False
            return
        if degeneracy is not None:
            merge_degeneracy(clip.degeneracies, degeneracy)
        # A silent window is not yet degenerate, but no place to rewind to either.
        if clip.detector.ok or degeneracy is not None:
            clip.rewind_point = _RewindPoint(clip.done, clip.nll, get_slot(state.carry, slot))

    def _retire_finished(self) -> list[tuple[int, GenerationResult]]:
        """Free the slots whose clips have ended, and return these clips."""
        finished = []
        for slot, clip in self._active():
            if clip.remaining == 0:
                nll = clip.nll if self._options.with_nll else None
                result = GenerationResult(
                    clip.levels, nll, tuple(clip.degeneracies), clip.expected_db
                )
                finished.append((clip.index, result))
                clip.features.close()
                self._slots[slot] = None
        return finished


@jax.jit
def get_slot(carry: Carry, slot: Int[Array, ""] | int) -> Carry:
    """Return a copy of one slot's carry, as a batch of one."""
    return jax.tree.map(lambda leaf: leaf[slot][None], carry)


@jax.jit
def put_slot(slot: Int[Array, ""] | int, one: Carry, carry: Carry) -> Carry:
    """Return the carry with one slot replaced by a batch of one."""
    return jax.tree.map(lambda new, leaf: leaf.at[slot].set(new[0]), one, carry)


@jax.jit
def merge_slots(started: Bool[Array, " slots"], fresh: Carry, carry: Carry) -> Carry:
    """Return the carry with the `started` slots from `fresh`."""
    return jax.tree.map(lambda new, old: jnp.where(started[:, None], new, old), fresh, carry)
