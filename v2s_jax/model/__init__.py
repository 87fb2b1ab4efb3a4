"""The model: a SampleRNN whose coarsest tier sees the video, or starts from what it showed."""

from v2s_jax.model.conditioning import with_statistics
from v2s_jax.model.folding import Folded, fold, without_weight_norm
from v2s_jax.model.linear import SCALE_SUFFIX, ScaledKernel, fold_weight_norm, product
from v2s_jax.model.memory import with_memory
from v2s_jax.model.recurrent import HIDDEN, Primed
from v2s_jax.model.sample_rnn import Carry, Outward, PrimedCarry
from v2s_jax.model.video_to_sound import (
    VideoToSound,
    encode,
    forward,
    init_params,
    initial_carry,
    vision_gates,
)

__all__ = [
    "HIDDEN",
    "SCALE_SUFFIX",
    "Carry",
    "Folded",
    "Outward",
    "Primed",
    "PrimedCarry",
    "ScaledKernel",
    "VideoToSound",
    "encode",
    "fold",
    "fold_weight_norm",
    "forward",
    "init_params",
    "initial_carry",
    "product",
    "vision_gates",
    "with_memory",
    "with_statistics",
    "without_weight_norm",
]
