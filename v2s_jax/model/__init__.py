"""The model: a three-tier SampleRNN whose coarsest tier sees the video."""

from v2s_jax.model.conditioning import with_statistics
from v2s_jax.model.linear import fold_weight_norm
from v2s_jax.model.sample_rnn import Carry
from v2s_jax.model.video_to_sound import (
    VideoToSound,
    forward,
    init_params,
    initial_carry,
    vision_gates,
)

__all__ = [
    "Carry",
    "VideoToSound",
    "fold_weight_norm",
    "forward",
    "init_params",
    "initial_carry",
    "vision_gates",
    "with_statistics",
]
