"""Prefill: teacher forcing over a given prefix brings the carry to where generation continues.

The model's own forward pass reads the prefix, so every tier's state is what it would be if the
sampler had generated those samples.
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
    """Raise InputError unless the prefix is whole big frames and shorter than the clip."""
    size = config.model.big_frame_size
    if len(prefix) % size:
        raise InputError(
            f"{clip}: a prefix of {len(prefix)} samples is not a multiple of the big frame size "
            f"{size}: cut it to {len(prefix) // size * size}"
        )
    if len(prefix) >= samples:
        raise InputError(
            f"{clip}: a prefix of {len(prefix)} samples leaves nothing of the clip's {samples} to "
            "generate: give a shorter one"
        )


@partial(jax.jit, static_argnums=0)
def _forward_chunk(
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
    """Return one slot's carry after a prefix of whole big frames.

    `features` holds one vector for each video frame that the prefix spans.
    """
    samples = model.config.clock.samples_per_video_frame
    starts = range(0, len(prefix), samples)
    for start, vector in zip(starts, features, strict=True):
        chunk = jnp.asarray(prefix[start : start + samples], jnp.int32)[None]
        carry = _forward_chunk(model, params, carry, chunk, jnp.asarray(vector)[None, None])
    return carry
