"""Generation of whole clips, in blocks of video frames, a fixed tile of clips at a time.

XLA rounds the same row differently in batches of different size, so every call runs one compiled
program of a fixed number of rows, the batch tile; unused rows are computed and dropped. The
program's loop counts big frames and ends after any number of them, so a pause changes nothing.
Features are read as they are needed and memory stays bounded, however long the video.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, Engine, EngineName, OutputLevel
from v2s_jax.kernels.packing import WeightFormat
from v2s_jax.model import (
    Carry,
    VideoToSound,
    encode,
    initial_carry,
    prepare_for_inference,
    visual_gates,
    without_weight_norm,
)
from v2s_jax.sampling.engines import make_engine
from v2s_jax.sampling.rng import uniforms

BLOCK_VIDEO_FRAMES = 8
"""Video frames per compiled call: half a second at 15.625 fps between two progress reports."""

DEFAULT_BATCH_SIZE = 4
"""Rows of the compiled program. On two CPU cores four rows cost about 1.3 times one."""


class SamplerState(NamedTuple):
    """A tile of clips between two blocks of big frames."""

    carry: Carry
    keys: UInt32[Array, "slots 2"]
    tick: Int[Array, ""]
    """The next big frame."""
    start_frame: Int[Array, " slots"]
    """Video frame of the stream at which each row's clip began; rows that were refilled began
    later, and all stand at the same place inside their video frames."""


@dataclass(frozen=True)
class Request:
    """One clip to be sounded."""

    key: UInt32[np.ndarray, "2"]
    """From `clip_key`."""
    samples: int
    """Length of the sound."""
    features: Iterable[Float[np.ndarray, " feature_dim"]]
    """One vector for each video frame; Frame reads it as generation goes on, so it may be a
    stream; Seq and Flow read all of it before the first sample."""
    prefix: UInt8[np.ndarray, " prefix_samples"] | None = None
    """Levels that the sound begins with, in whole big frames; `samples` counts them too."""


class Sampler:
    """The compiled sampler of one checkpoint.

    `tile` rows are computed at once, whatever the number of clips; a clip's levels are the same
    for the same tile, precision, device and version, and with an engine that is
    `batch_invariant` for any tile. Memory does not grow with the length of the video, but for one
    byte per sample of the result.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        precision: Precision = "default",
        engine: EngineName = "scan",
        weights: WeightFormat = "float32",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch tile of {batch_size} rows: it must be at least 1")
        self.config = config
        self.batch_size = batch_size
        self.model = VideoToSound(without_weight_norm(config), precision)
        self.engine = make_engine(engine, self.model, weights, batch_size)
        self._fold = jax.jit(partial(prepare_for_inference, self.model))
        self._pack = jax.jit(self.engine.pack)
        self.use(params)
        run = partial(_encode, self.model, self.engine.batch_invariant)
        self._encode = jax.jit(run, donate_argnums=1)
        self._block = jax.jit(
            partial(_generate_block, self.model, self.engine),
            donate_argnums=2,
            static_argnames="keep",
        )

    def use(self, params: dict[str, Any]) -> None:
        """Go on with other parameters of the same config, as training has them after a while."""
        self.folded = self._fold(params)
        self._weights = self._pack(self.folded)

    def limit_batch(self, rows: int) -> None:
        """Compute no more than so many rows, where that changes no sound; before compiling."""
        if self.engine.batch_invariant:
            self.batch_size = min(self.batch_size, rows)

    @property
    def block_ticks(self) -> int:
        """Big frames in a whole block."""
        per_frame = self.config.clock.samples_per_video_frame // self.config.model.big_frame_size
        return BLOCK_VIDEO_FRAMES * per_frame

    def start(self, keys: UInt32[np.ndarray, "slots 2"]) -> SamplerState:
        """Return the state before the first video frame of a tile of clips."""
        carry = initial_carry(self.model, self.folded.params, self.batch_size)
        return SamplerState(
            carry, jnp.asarray(keys), jnp.int32(0), jnp.zeros(self.batch_size, jnp.int32)
        )

    def encode(
        self,
        stream: SamplerState,
        features: Float[np.ndarray, "slots block_video_frames feature_dim"],
        seen: Bool[np.ndarray, "slots block_video_frames"],
    ) -> SamplerState:
        """Let the encoder of Seq and Flow read the next block of video frames.

        `stream` is used up.
        """
        carry = self._encode(self.folded.params, stream.carry, features, seen)
        return stream._replace(carry=carry)

    def block(
        self,
        stream: SamplerState,
        features: Float[np.ndarray, "slots block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None = None,
    ) -> tuple[SamplerState, UInt8[np.ndarray, "slots block_samples"]]:
        """Generate the samples of the next big frames: `ticks` of them, or a block's.

        `features` begin with the video frame that the stream stands in; Frame alone reads them.
        `stream` is used up: its buffers become those of the stream that is returned. Raises
        InputError for more big frames than the features cover.
        """
        stream, drawn, ticks = self._run(stream, features, temperature, ticks, None, "levels")
        return stream, np.asarray(drawn.levels)[: ticks * self.config.model.big_frame_size].T

    def drawn(
        self,
        stream: SamplerState,
        features: Float[np.ndarray, "slots block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None = None,
        *,
        forced: Int[np.ndarray, "slots samples"] | None = None,
        keep: OutputLevel = "nats",
    ) -> tuple[SamplerState, BlockOutputs]:
        """Generate as `block` does, and give what `keep` says: the likelihood of each level too.

        With `forced` levels, as many as the features cover, those are taken instead of drawn:
        teacher forcing by the engine's own arithmetic.
        """
        stream, drawn, ticks = self._run(stream, features, temperature, ticks, forced, keep)
        samples = ticks * self.config.model.big_frame_size
        return stream, jax.tree.map(lambda by_sample: np.asarray(by_sample)[:samples], drawn)

    def _run(
        self,
        stream: SamplerState,
        features: Float[np.ndarray, "slots block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None,
        forced: Int[np.ndarray, "slots samples"] | None,
        keep: OutputLevel,
    ) -> tuple[SamplerState, BlockOutputs, int]:
        """Return the stream, a buffer of samples, and how many big frames of it are filled."""
        per_frame = self.block_ticks // BLOCK_VIDEO_FRAMES
        most = features.shape[1] * per_frame - int(stream.tick) % per_frame
        ticks = most if ticks is None else ticks
        if not 0 <= ticks <= most:
            raise InputError(f"{ticks} big frames in one block: use 0 to {most}")
        stream, drawn = self._block(
            self.folded.params,
            self._weights,
            stream,
            features,
            np.float32(temperature),
            np.int32(ticks),
            None if forced is None else jnp.asarray(forced, jnp.int32).T,
            keep=keep,
        )
        return stream, drawn, ticks

    def compile(self) -> None:
        """Compile the program, which the first block would do otherwise."""
        stream = self.start(np.zeros((self.batch_size, 2), np.uint32))
        if self.config.model.encodes_video:
            stream = self.encode(stream, *self.empty_features())
        model = self.config.model
        width = 0 if model.encodes_video else model.feature_dim
        features = np.zeros((self.batch_size, BLOCK_VIDEO_FRAMES, width), np.float32)
        self.block(stream, features, temperature=1.0)

    def generate(
        self,
        requests: Sequence[Request],
        temperature: float = 1.0,
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> list[UInt8[np.ndarray, " samples"]]:
        """Return the levels of each clip, in the order of `requests`.

        A row whose clip has ended goes on with the next clip. `on_samples` is told after each
        block how many wanted samples it brought. Raises InputError for a bad temperature, and for
        features that are not finite, not as wide as the config says, or fewer than the video
        frames.
        """
        # These are built on this class.
        from v2s_jax.sampling.continuous_batching import GenerationOptions
        from v2s_jax.sampling.multi_device import generate_all

        made = generate_all([self], requests, GenerationOptions(temperature), on_samples)
        return [sound.levels for sound in made]

    def empty_features(
        self,
    ) -> tuple[
        Float[np.ndarray, "slots block_video_frames feature_dim"],
        Bool[np.ndarray, "slots block_video_frames"],
    ]:
        """Return the arrays of a block, to be filled: no feature, and nothing seen."""
        shape = (self.batch_size, BLOCK_VIDEO_FRAMES)
        width = self.config.model.feature_dim
        return np.zeros((*shape, width), np.float32), np.zeros(shape, bool)


def _encode(
    model: VideoToSound,
    row_by_row: bool,
    params: dict[str, Any],
    carry: Carry,
    features: Float[Array, "slots video_frames feature_dim"],
    seen: Bool[Array, "slots video_frames"],
) -> Carry:
    """Let the encoder read; row by row where a row may not depend on the size of its tile."""
    if not row_by_row:
        return encode(model, params, carry, features, seen)

    def of_row(inputs: Any) -> Carry:
        row = jax.tree.map(lambda x: x[None], inputs)
        return jax.tree.map(lambda x: x[0], encode(model, params, *row))

    return jax.lax.map(of_row, (carry, features, seen))


def _generate_block(
    model: VideoToSound,
    engine: Engine,
    params: dict[str, Any],
    weights: Any,
    stream: SamplerState,
    features: Float[Array, "slots video_frames feature_dim"],
    temperature: Float[Array, ""],
    ticks: Int[Array, ""],
    forced: Int[Array, "samples slots"] | None,
    *,
    keep: OutputLevel,
) -> tuple[SamplerState, BlockOutputs]:
    """Generate `ticks` big frames into a buffer that holds those of all the video frames.

    Noise and gates are computed for one video frame at a time, whichever the block begins with and
    wherever it ends, so their rounding depends on neither; what is not reached costs nothing.
    """
    batch_size, video_frames, _ = features.shape
    samples, size = model.config.clock.samples_per_video_frame, model.config.model.big_frame_size
    per_frame = samples // size
    first_frames, offset = stream.tick // per_frame - stream.start_frame, stream.tick % per_frame

    def of_rows(features_now: Array) -> Array | None:
        gates = visual_gates(model, params, features_now[:, None])
        return None if gates is None else gates[:, 0]

    def of_row(features_now: Array) -> Array | None:
        gates = of_rows(features_now[None])
        return None if gates is None else gates[0]

    def of_video_frame(index: Array) -> tuple[Array | None, Array]:
        now = features[:, index]
        gates = jax.lax.map(of_row, now) if engine.batch_invariant else of_rows(now)
        noise = uniforms(stream.keys, first_frames + index, samples)
        return gates, noise.reshape(batch_size, per_frame, size)

    def into(index: Array, made: tuple[Array | None, Array]) -> tuple[Array | None, Array]:
        return jax.tree.map(lambda kept, now: kept.at[index].set(now), made, of_video_frame(index))

    one = jax.eval_shape(of_video_frame, jnp.int32(0))
    empty = jax.tree.map(lambda now: jnp.zeros((video_frames, *now.shape), now.dtype), one)
    reached = (offset + ticks + per_frame - 1) // per_frame
    gates, noise = jax.lax.fori_loop(0, reached, into, empty)
    given = BlockInputs(gates, noise, forced, temperature, offset, ticks)
    carry, drawn = engine.big_frames(weights, stream.carry, given, keep)
    return stream._replace(carry=carry, tick=stream.tick + ticks), drawn
