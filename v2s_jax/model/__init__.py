"""The model: a SampleRNN whose coarsest tier reads the video, or starts from an encoding of it."""

from v2s_jax.model.chrono_init import apply_chrono_init
from v2s_jax.model.conditioning import with_statistics
from v2s_jax.model.context import window_frames
from v2s_jax.model.linear import SCALE_SUFFIX, ScaledKernel, fold_weight_norm, matmul
from v2s_jax.model.loudness import DB_PER_UNIT, has_loudness, loudness, split_by_vector
from v2s_jax.model.rnn_stack import HIDDEN_ACTIVATION, StepState
from v2s_jax.model.sample_rnn import Carry, FusedOutputKernels, StepCarry
from v2s_jax.model.video_to_sound import (
    InferenceParams,
    VideoToSound,
    encode,
    forward,
    init_params,
    initial_carry,
    predict_loudness,
    prepare_for_inference,
    visual_gates,
    without_weight_norm,
)

__all__ = [
    "DB_PER_UNIT",
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
    "has_loudness",
    "init_params",
    "initial_carry",
    "loudness",
    "matmul",
    "predict_loudness",
    "prepare_for_inference",
    "split_by_vector",
    "visual_gates",
    "window_frames",
    "with_statistics",
    "without_weight_norm",
]
