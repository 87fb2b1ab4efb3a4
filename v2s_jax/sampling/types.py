"""Values that pass between the parts of the sampler."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8, UInt32

from v2s_jax.model import Carry
from v2s_jax.sampling.degeneracy import Degeneracy

BLOCK_VIDEO_FRAMES = 8
"""Video frames per compiled call: half a second at 15.625 fps between two progress reports."""

DEFAULT_BATCH_SIZE = 4
"""Slots of the compiled program. On two CPU cores four slots cost about 1.3 times one."""


class SamplerState(NamedTuple):
    """The clips in the slots, between two blocks of big frames."""

    carry: Carry
    keys: UInt32[Array, "slots 2"]
    tick: Int[Array, ""]
    """The next big frame."""
    start_frame: Int[Array, " slots"]
    """Video frame, on the counter of `tick`, at which each slot's clip began. All slots are at the
    same position inside their video frames."""


@dataclass(frozen=True)
class Request:
    """One clip to generate."""

    key: UInt32[np.ndarray, "2"]
    """From `clip_key`."""
    samples: int
    """Length of the audio, the prefix included."""
    features: Iterable[Float[np.ndarray, " feature_dim"]]
    """One vector for each video frame. Frame and Aligned read them while they generate, so this may
    be a stream; Seq and Flow read all of them before the first sample."""
    prefix: UInt8[np.ndarray, " prefix_samples"] | None = None
    """Levels that the audio begins with, in whole big frames."""


class GenerationOptions(NamedTuple):
    """How clips are generated."""

    temperature: float = 1.0
    with_nll: bool = False
    """Whether to return the negative log-likelihood of each clip."""
    max_retries: int = 0
    """How often degenerate audio of one clip is generated again; 0 leaves it as it is."""


class GenerationResult(NamedTuple):
    """The audio of one request."""

    levels: UInt8[np.ndarray, " samples"]
    nll: float | None
    """-ln p of the generated levels, in nats, at their temperature; None unless asked for."""
    degeneracies: tuple[Degeneracy, ...]
    """Degenerate stretches, where `max_retries` is not 0."""
    expected_db: Float32[np.ndarray, " video_frames"] | None = None
    """Loudness that the model expects from the video; None if it does not say, or of a prefix."""
