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
from v2s_jax.generate.noise import inverse_cdf, uniforms
from v2s_jax.generate.scan import Folded, fold, run_big_frame, without_weight_norm
from v2s_jax.model import Carry, VideoToSound, encode, initial_carry, vision_gates

BLOCK_VIDEO_FRAMES = 8
"""Video frames per compiled call: half a second at 15.625 fps between two progress reports."""

DEFAULT_TILE = 4
"""Rows of the compiled program. On two CPU cores four rows cost about 1.3 times one."""


class Stream(NamedTuple):
    """A tile of clips between two blocks of big frames."""

    carry: Carry
    keys: UInt32[Array, "tile 2"]
    tick: Int[Array, ""]
    """The next big frame."""
    began: Int[Array, "tile"]
    """Video frame of the stream at which each row's clip began; rows that were refilled began
    later, and all stand at the same place inside their video frames."""


class Drawn(NamedTuple):
    """The samples of a block, in their order."""

    levels: UInt8[np.ndarray, "samples tile"]
    nats: Float[np.ndarray, "samples tile"] | None
    """-ln p(level), at the temperature that it was drawn at."""


@dataclass(frozen=True)
class Request:
    """One clip to be sounded."""

    key: UInt32[np.ndarray, "2"]
    """From `clip_key`."""
    samples: int
    """Length of the sound."""
    features: Iterable[Float[np.ndarray, "feature_dim"]]
    """One vector for each video frame; Frame reads it as generation goes on, so it may be a
    stream; Seq and Flow read all of it before the first sample."""
    prefix: UInt8[np.ndarray, "prefix_samples"] | None = None
    """Levels that the sound begins with, in whole big frames; `samples` counts them too."""


class Generator:
    """The compiled sampler of one checkpoint.

    `tile` rows are computed at once, whatever the number of clips; a clip's levels are the same
    for the same tile, precision, device and version. Memory does not grow with the length of the
    video, but for one byte per sample of the result.
    """

    def __init__(
        self,
        config: Config,
        params: dict[str, Any],
        *,
        tile: int = DEFAULT_TILE,
        precision: Precision = "default",
    ) -> None:
        if tile < 1:
            raise InputError(f"batch tile of {tile} rows: it must be at least 1")
        self.config = config
        self.tile = tile
        self.model = VideoToSound(without_weight_norm(config), precision)
        self._fold = jax.jit(partial(fold, self.model))
        self.use(params)
        self._encode = jax.jit(partial(encode, self.model), donate_argnums=1)
        self._block = jax.jit(
            partial(_generate_block, self.model), donate_argnums=1, static_argnames="with_nats"
        )

    def use(self, params: dict[str, Any]) -> None:
        """Go on with other parameters of the same config, as training has them after a while."""
        self.folded = self._fold(params)

    @property
    def block_ticks(self) -> int:
        """Big frames in a whole block."""
        per_frame = self.config.clock.samples_per_video_frame // self.config.model.big_frame_size
        return BLOCK_VIDEO_FRAMES * per_frame

    def start(self, keys: UInt32[np.ndarray, "tile 2"]) -> Stream:
        """Return the state before the first video frame of a tile of clips."""
        carry = initial_carry(self.model, self.folded.params, self.tile)
        return Stream(carry, jnp.asarray(keys), jnp.int32(0), jnp.zeros(self.tile, jnp.int32))

    def encode(
        self,
        stream: Stream,
        features: Float[np.ndarray, "tile block_video_frames feature_dim"],
        seen: Bool[np.ndarray, "tile block_video_frames"],
    ) -> Stream:
        """Let the encoder of Seq and Flow read the next block of video frames.

        `stream` is used up.
        """
        carry = self._encode(self.folded.params, stream.carry, features, seen)
        return stream._replace(carry=carry)

    def block(
        self,
        stream: Stream,
        features: Float[np.ndarray, "tile block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None = None,
    ) -> tuple[Stream, UInt8[np.ndarray, "tile block_samples"]]:
        """Generate the samples of the next big frames: `ticks` of them, or a block's.

        `features` begin with the video frame that the stream stands in; Frame alone reads them.
        `stream` is used up: its buffers become those of the stream that is returned. Raises
        InputError for more big frames than the features cover.
        """
        stream, kept = self._run(stream, features, temperature, ticks, with_nats=False)
        return stream, kept.T

    def drawn(
        self,
        stream: Stream,
        features: Float[np.ndarray, "tile block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None = None,
    ) -> tuple[Stream, Drawn]:
        """Generate as `block` does, and give the likelihood of each level too."""
        stream, kept = self._run(stream, features, temperature, ticks, with_nats=True)
        return stream, Drawn(kept[..., 0].astype(np.uint8), kept[..., 1])

    def _run(
        self,
        stream: Stream,
        features: Float[np.ndarray, "tile block_video_frames feature_dim"],
        temperature: float,
        ticks: int | None,
        *,
        with_nats: bool,
    ) -> tuple[Stream, np.ndarray]:
        """Return the stream, and what was kept of each sample."""
        per_frame = self.block_ticks // BLOCK_VIDEO_FRAMES
        most = features.shape[1] * per_frame - int(stream.tick) % per_frame
        ticks = most if ticks is None else ticks
        if not 0 <= ticks <= most:
            raise InputError(f"{ticks} big frames in one block: use 0 to {most}")
        stream, kept = self._block(
            self.folded,
            stream,
            features,
            jnp.float32(temperature),
            jnp.int32(ticks),
            with_nats=with_nats,
        )
        return stream, np.asarray(kept)[: ticks * self.config.model.big_frame_size]

    def compile(self) -> None:
        """Compile the program, which the first block would do otherwise."""
        stream = self.start(np.zeros((self.tile, 2), np.uint32))
        if self.config.model.encodes_video:
            stream = self.encode(stream, *self.no_features())
        self._compile_block(stream, BLOCK_VIDEO_FRAMES)

    def compile_for(self, video_frames: int) -> None:
        """Compile the program of blocks of so many video frames, as a stream uses them."""
        self._compile_block(self.start(np.zeros((self.tile, 2), np.uint32)), video_frames)

    def _compile_block(self, stream: Stream, video_frames: int) -> None:
        model = self.config.model
        width = 0 if model.encodes_video else model.feature_dim
        features = np.zeros((self.tile, video_frames, width), np.float32)
        self.block(stream, features, temperature=1.0)

    def generate(
        self,
        requests: Sequence[Request],
        temperature: float = 1.0,
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> list[UInt8[np.ndarray, "samples"]]:
        """Return the levels of each clip, in the order of `requests`.

        A row whose clip has ended goes on with the next clip. `on_samples` is told after each
        block how many wanted samples it brought. Raises InputError for a bad temperature, and for
        features that are not finite, not as wide as the config says, or fewer than the video
        frames.
        """
        # These are built on this class.
        from v2s_jax.generate.filling import Options
        from v2s_jax.generate.many import generate_all

        made = generate_all([self], requests, Options(temperature), on_samples)
        return [sound.levels for sound in made]

    def no_features(
        self,
    ) -> tuple[
        Float[np.ndarray, "tile block_video_frames feature_dim"],
        Bool[np.ndarray, "tile block_video_frames"],
    ]:
        """Return the arrays of a block, to be filled: no feature, and nothing seen."""
        shape = (self.tile, BLOCK_VIDEO_FRAMES)
        width = self.config.model.feature_dim
        return np.zeros((*shape, width), np.float32), np.zeros(shape, bool)


def _generate_block(
    model: VideoToSound,
    folded: Folded,
    stream: Stream,
    features: Float[Array, "tile video_frames feature_dim"],
    temperature: Float[Array, ""],
    ticks: Int[Array, ""],
    *,
    with_nats: bool,
) -> tuple[Stream, UInt8[Array, "samples tile"] | Float[Array, "samples tile 2"]]:
    """Generate `ticks` big frames into a buffer that holds those of all the video frames.

    It holds levels, or with nats a pair for each sample.

    Noise and gates are computed for one video frame at a time, whichever the block begins with,
    and the loop's body is the same for any number of big frames: so is every rounding.
    """
    tile, video_frames, _ = features.shape
    samples, size = model.config.clock.samples_per_video_frame, model.config.model.big_frame_size
    per_frame = samples // size
    first_frames, offset = stream.tick // per_frame - stream.began, stream.tick % per_frame

    def of_video_frame(inputs: tuple[Array, Array]) -> tuple[Array | None, Array]:
        index, features_now = inputs
        gates = vision_gates(model, folded.params, features_now[:, None])
        noise = uniforms(stream.keys, first_frames + index, samples)
        return None if gates is None else gates[:, 0], noise.reshape(tile, per_frame, size)

    by_frame = (jnp.arange(video_frames), jnp.swapaxes(features, 0, 1))
    gates, noise = jax.lax.map(of_video_frame, by_frame)

    def pick(logits: Array, uniform: Array) -> tuple[Array, Array]:
        cooled = logits / temperature
        level = inverse_cdf(cooled, uniform)
        if not with_nats:
            return level, level.astype(jnp.uint8)
        nats = -jnp.take_along_axis(jax.nn.log_softmax(cooled), level[:, None], axis=-1)[:, 0]
        return level, jnp.stack([level.astype(jnp.float32), nats], axis=-1)

    def tick(done: Array, loop: tuple[Carry, Array]) -> tuple[Carry, Array]:
        carry, kept = loop
        video_frame, place = jnp.divmod(offset + done, per_frame)
        gates_now = None if gates is None else gates[video_frame]
        noise_now = jax.lax.dynamic_index_in_dim(noise[video_frame], place, 1, keepdims=False)
        carry, picked = run_big_frame(model, folded, carry, gates_now, noise_now, pick)
        return carry, jax.lax.dynamic_update_slice_in_dim(kept, picked, done * size, axis=0)

    shape = (video_frames * samples, tile)
    empty = jnp.zeros((*shape, 2), jnp.float32) if with_nats else jnp.zeros(shape, jnp.uint8)
    carry, kept = jax.lax.fori_loop(0, ticks, tick, (stream.carry, empty))
    return stream._replace(carry=carry, tick=stream.tick + ticks), kept
