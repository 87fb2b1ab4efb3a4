"""The model: a SampleRNN whose coarsest tier sees the video, or starts from what it showed."""

from v2s_jax.model.chrono_init import apply_chrono_init
from v2s_jax.model.conditioning import with_statistics
from v2s_jax.model.inference_params import (
    InferenceParams,
    prepare_for_inference,
    without_weight_norm,
)
from v2s_jax.model.linear import SCALE_SUFFIX, ScaledKernel, fold_weight_norm, matmul
from v2s_jax.model.rnn import HIDDEN_ACTIVATION, StepState
from v2s_jax.model.sample_rnn import Carry, FusedOutputKernels, StepCarry
from v2s_jax.model.video_to_sound import (
    VideoToSound,
    encode,
    forward,
    init_params,
    initial_carry,
    visual_gates,
)

__all__ = [
    "HIDDEN_ACTIVATION",
    "SCALE_SUFFIX",
    "Carry",
    "FusedOutputKernels",
    "InferenceParams",
    "ScaledKernel",
    "StepCarry",
    "StepState",
    "VideoToSound",
    "apply_chrono_init",
    "encode",
    "fold_weight_norm",
    "forward",
    "init_params",
    "initial_carry",
    "matmul",
    "prepare_for_inference",
    "visual_gates",
    "with_statistics",
    "without_weight_norm",
]
