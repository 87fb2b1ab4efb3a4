"""A sound to continue from: the tiers' carry is warmed by teacher forcing.

The model's own forward pass reads the prefix, chunk by chunk, so every tier stands where it would
stand had it generated those samples.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound, forward


def check_prefix(
    prefix: UInt8[np.ndarray, " prefix_samples"], samples: int, config: Config, clip: str
) -> None:
    """Raise InputError unless the prefix is whole big frames and leaves something to generate."""
    size = config.model.big_frame_size
    if len(prefix) % size:
        raise InputError(
            f"{clip}: a prefix of {len(prefix)} samples is not in whole big frames of {size}: cut "
            f"it to {len(prefix) // size * size}"
        )
    if len(prefix) >= samples:
        raise InputError(
            f"{clip}: a prefix of {len(prefix)} samples leaves nothing of the clip's {samples} to "
            "generate: give a shorter one"
        )
    if len(prefix) and prefix.max() >= config.model.q_levels:
        raise InputError(
            f"{clip}: level {prefix.max()} in the prefix, the model knows 0 to "
            f"{config.model.q_levels - 1}: quantize it with the model's q_levels"
        )


@partial(jax.jit, static_argnums=0)
def _read(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    levels: Int[Array, "1 samples"],
    features: Float[Array, "1 video_frames feature_dim"],
) -> Carry:
    return forward(model, params, carry, levels, features)[0]


def prefill(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    prefix: UInt8[np.ndarray, " prefix_samples"],
    features: Iterable[Float[np.ndarray, " feature_dim"]],
) -> Carry:
    """Return one row's carry after a prefix of whole big frames.

    `features` are those of the video frames that the prefix lies in, one at a time.
    """
    samples = model.config.clock.samples_per_video_frame
    starts = range(0, len(prefix), samples)
    for start, vector in zip(starts, features, strict=True):
        chunk = jnp.asarray(prefix[start : start + samples], jnp.int32)[None]
        carry = _read(model, params, carry, chunk, jnp.asarray(vector)[None, None])
    return carry
