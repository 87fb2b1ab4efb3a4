"""Generation of whole clips, in blocks of video frames, a fixed tile of clips at a time.

XLA rounds the same row differently in batches of different size, so every call runs one compiled
program of a fixed number of rows, the batch tile; unused rows are computed and dropped. Features
are read as they are needed and memory stays bounded, however long the video.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from v2s_jax.config import Config, Precision
from v2s_jax.errors import InputError
from v2s_jax.generate.noise import check_temperature, inverse_cdf, uniforms
from v2s_jax.generate.scan import Folded, fold, run_tiers, without_weight_norm
from v2s_jax.model import Carry, VideoToSound, initial_carry, vision_gates

BLOCK_VIDEO_FRAMES = 8
"""Video frames per compiled call: half a second at 15.625 fps between two progress reports."""

DEFAULT_TILE = 4
"""Rows of the compiled program. On two CPU cores four rows cost about 1.3 times one."""


class Stream(NamedTuple):
    """A tile of clips between two blocks of video frames."""

    carry: Carry
    keys: UInt32[Array, "tile 2"]
    video_frame: Int[Array, ""]
    """The next video frame."""


@dataclass(frozen=True)
class Request:
    """One clip to be sounded."""

    key: UInt32[np.ndarray, "2"]
    """From `clip_key`."""
    samples: int
    """Length of the sound."""
    appearance: Iterable[Float[np.ndarray, "appearance_dim"]]
    """One vector for each video frame; read as generation needs it, so it may be a stream."""


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
        self.folded = jax.jit(partial(fold, self.model))(params)
        self._block = jax.jit(partial(_generate_block, self.model), donate_argnums=1)

    def start(self, keys: UInt32[np.ndarray, "tile 2"]) -> Stream:
        """Return the state before the first video frame of a tile of clips."""
        carry = initial_carry(self.model, self.folded.params, self.tile)
        return Stream(carry, jnp.asarray(keys), jnp.int32(0))

    def block(
        self,
        stream: Stream,
        appearance: Float[np.ndarray, "tile block_video_frames appearance_dim"],
        temperature: float,
    ) -> tuple[Stream, UInt8[np.ndarray, "tile block_samples"]]:
        """Generate the samples of the next block of video frames.

        `stream` is used up: its buffers become those of the stream that is returned.
        """
        stream, levels = self._block(self.folded, stream, appearance, jnp.float32(temperature))
        return stream, np.asarray(levels)

    def compile(self) -> None:
        """Compile the program, which the first block would do otherwise."""
        stream = self.start(np.zeros((self.tile, 2), np.uint32))
        self.block(stream, self._next_appearance([]), temperature=1.0)

    def generate(
        self,
        requests: Sequence[Request],
        temperature: float = 1.0,
        on_samples: Callable[[int], None] = lambda samples: None,
    ) -> list[UInt8[np.ndarray, "samples"]]:
        """Return the levels of each clip, in the order of `requests`.

        Clips of similar length share a tile. `on_samples` is told after each block how many
        wanted samples it brought. Raises InputError for a bad temperature.
        """
        check_temperature(temperature)
        by_length = sorted(range(len(requests)), key=lambda i: -requests[i].samples)
        levels: list[UInt8[np.ndarray, "samples"]] = [np.empty(0, np.uint8)] * len(requests)
        for first in range(0, len(requests), self.tile):
            members = by_length[first : first + self.tile]
            rows = self._generate_tile([requests[i] for i in members], temperature, on_samples)
            for i, row in zip(members, rows, strict=True):
                levels[i] = row
        return levels

    def _generate_tile(
        self, requests: Sequence[Request], temperature: float, on_samples: Callable[[int], None]
    ) -> list[UInt8[np.ndarray, "samples"]]:
        """Generate up to `tile` clips side by side, block by block."""
        keys = np.zeros((self.tile, 2), np.uint32)
        keys[: len(requests)] = [request.key for request in requests]
        stream = self.start(keys)
        sources = [iter(request.appearance) for request in requests]
        rows = [np.empty(request.samples, np.uint8) for request in requests]
        block_samples = BLOCK_VIDEO_FRAMES * self.config.clock.samples_per_video_frame
        for first in range(0, max(len(row) for row in rows), block_samples):
            appearance = self._next_appearance(sources)
            stream, levels = self.block(stream, appearance, temperature)
            brought = 0
            for row, generated in zip(rows, levels, strict=False):
                wanted = row[first : first + block_samples]
                wanted[:] = generated[: len(wanted)]
                brought += len(wanted)
            on_samples(brought)
        return rows

    def _next_appearance(
        self, sources: Sequence[Iterator[Float[np.ndarray, "appearance_dim"]]]
    ) -> Float[np.ndarray, "tile block_video_frames appearance_dim"]:
        """Read the next block of every clip; what lies behind a clip's end is zero and dropped."""
        width = self.config.model.appearance_dim
        appearance = np.zeros((self.tile, BLOCK_VIDEO_FRAMES, width), np.float16)
        for row, source in enumerate(sources):
            for place, vector in enumerate(itertools.islice(source, BLOCK_VIDEO_FRAMES)):
                appearance[row, place] = vector
        return appearance


def _generate_block(
    model: VideoToSound,
    folded: Folded,
    stream: Stream,
    appearance: Float[Array, "tile video_frames appearance_dim"],
    temperature: Float[Array, ""],
) -> tuple[Stream, UInt8[Array, "tile samples"]]:
    """Scan over the video frames of a block."""
    samples = model.config.clock.samples_per_video_frame
    gates = vision_gates(model, folded.params, appearance)
    by_frame = None if gates is None else jnp.swapaxes(gates, 0, 1)

    def pick(logits: Array, uniform: Array) -> tuple[Array, Array]:
        level = inverse_cdf(logits / temperature, uniform)
        return level, level.astype(jnp.uint8)

    def video_frame(stream: Stream, gates: Array | None) -> tuple[Stream, Array]:
        noise = uniforms(stream.keys, stream.video_frame, samples)
        carry, levels = run_tiers(model, folded, stream.carry, gates, noise, pick)
        return Stream(carry, stream.keys, stream.video_frame + 1), levels

    stream, levels = jax.lax.scan(video_frame, stream, by_frame, length=appearance.shape[1])
    return stream, jnp.swapaxes(levels, 0, 1).reshape(appearance.shape[0], -1)
