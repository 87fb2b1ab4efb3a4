"""The cpu engine: sampler.cc behind JAX's foreign function interface.

`v2s build` compiles it. It runs three tiers of one GRU layer each. With float32 weights its levels
are those of the scan except for near-ties. It is batch-invariant: a row sums in the same order in a
batch of any size, so a clip does not depend on the clips next to it.
"""

import ctypes
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from v2s_jax.config import Config
from v2s_jax.errors import InputError, reason
from v2s_jax.kernels.build import COMMAND, library_path
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, OutputLevel
from v2s_jax.kernels.packing import (
    COLUMN_GROUP,
    GATES,
    LANES,
    MASKED_LOGIT,
    Packed,
    WeightFormat,
    check_model,
    matmul_weights,
    pack,
    pad_parts,
    round_up,
    rows_per_lane,
)
from v2s_jax.model import Carry, InferenceParams

TARGET = "v2s_generate"
MULTIPLY_TARGET = "v2s_multiply"
SUMS_SHAPE = 16, LANES
"""For each thread that there may be (sampler.cc, kMaxThreads), room for its widest vector."""


class CpuWeights(NamedTuple):
    """Arguments of the library, in its order."""

    big_input: Float[Array, "big_frame_size gates"]
    big_candidate_bias: Float[Array, " dim"]
    frame_input: Float[Array, "frame_size gates"]
    frame_candidate_bias: Float[Array, " dim"]
    tables: Float[Array, "frame_size q_levels mlp_dim"]
    products: tuple[Packed, ...]
    big_bias: Float[Array, " gates"]
    """Added to the visual gates before the call."""


class CpuEngine:
    """The library, for one config and weight format.

    Raises InputError when it is not built, JAX runs on another device, or it cannot run the model.
    """

    batch_invariant = True

    def __init__(self, config: Config, weights: WeightFormat) -> None:
        check_model(config.model, "cpu")
        if jax.default_backend() != "cpu":
            raise InputError(
                f"--engine cpu on {jax.default_backend()}: add --device cpu, or use --engine scan"
            )
        load_library()
        self._config = config
        self._weights = weights

    def pack(self, inference_params: InferenceParams) -> CpuWeights:
        """Lay the weights out as lanes.h reads them."""
        c = self._config.model
        params, tables, frame_kernel = inference_params
        tiers = params["params"]["sample_rnn"]
        big, frame = tiers["big_frame_tier"]["gru"], tiers["frame_tier"]["gru"]
        assert frame_kernel is not None
        more_levels = round_up(c.q_levels) - c.q_levels
        return CpuWeights(
            pad_parts(big["input_kernel"][: c.big_frame_size], GATES),
            pad_parts(big["candidate_bias"], 1),
            pad_parts(frame_kernel, GATES),
            pad_parts(frame["candidate_bias"], 1),
            jnp.pad(pad_parts(tables, 1), ((0, 0), (0, more_levels), (0, 0))),
            tuple(
                pack(product, self._weights, MASKED_LOGIT if name == "output" else 0.0)
                for name, product in matmul_weights(c, params)._asdict().items()
            ),
            pad_parts(big["input_bias"], GATES),
        )

    def run_big_frames(
        self, weights: CpuWeights, carry: Carry, inputs: BlockInputs, keep: OutputLevel
    ) -> tuple[Carry, BlockOutputs]:
        """Run the library over `inputs.ticks` big frames."""
        c = self._config.model
        assert carry.frame is not None
        video_frames, batch_size, per_frame, size = inputs.noise.shape
        samples = video_frames * per_frame * size
        gates, forced = inputs.gates, inputs.forced
        if gates is None:
            gates = jnp.zeros((video_frames, batch_size, GATES * c.dim))
        if forced is None:
            forced = jnp.zeros((0, batch_size), jnp.int32)
        state = jax.ShapeDtypeStruct((batch_size, round_up(c.dim)), jnp.float32)
        logits_shape = (samples if keep == "logits" else 0, batch_size, round_up(c.q_levels))
        call = jax.ffi.ffi_call(
            TARGET,
            (
                state,
                state,
                jax.ShapeDtypeStruct((batch_size, size), jnp.int32),
                jax.ShapeDtypeStruct((samples, batch_size), jnp.uint8),
                jax.ShapeDtypeStruct((samples, batch_size), jnp.float32),
                jax.ShapeDtypeStruct(logits_shape, jnp.float32),
            ),
        )
        big_frame, frame, lookback, levels, nll, logits = call(
            pad_parts(carry.big_frame, 1),
            pad_parts(carry.frame, 1),
            carry.levels,
            pad_parts(gates, GATES) + weights.big_bias[None, None],
            inputs.noise.reshape(video_frames, batch_size, per_frame * size),
            forced,
            inputs.temperature,
            jnp.stack([inputs.ticks, inputs.offset]),
            *weights[:5],
            *(part for packed in weights.products for part in packed),
            big_frame_size=c.big_frame_size,
            frame_size=c.frame_size,
            q_levels=c.q_levels,
            rows_per_lane=rows_per_lane(self._weights),
        )
        carry = Carry(big_frame[:, : c.dim], frame[:, : c.dim], lookback)
        return carry, BlockOutputs(
            levels,
            None if keep == "levels" else nll,
            logits[..., : c.q_levels] if keep == "logits" else None,
        )


def multiply_only(
    kernel: Packed, rows: int, turns: int, weights: WeightFormat
) -> Float[Array, "threads lanes"]:
    """Multiply `rows` rows of zeros by a kernel `turns` times; the result only keeps it alive.

    Each core multiplies its own columns and waits for no other: no engine on this processor can be
    faster. Raises InputError when the library is not built.
    """
    load_library()
    call = jax.ffi.ffi_call(MULTIPLY_TARGET, jax.ShapeDtypeStruct(SUMS_SHAPE, jnp.float32))
    return call(*kernel, rows=rows, turns=turns, rows_per_lane=rows_per_lane(weights))


def zero_kernel(inputs: int, groups: int, weights: WeightFormat) -> Packed:
    """Return a packed kernel of zeros with `groups` groups of columns."""
    per, columns = rows_per_lane(weights), groups * COLUMN_GROUP
    return Packed(
        jnp.zeros((groups, inputs // per, COLUMN_GROUP // LANES, LANES, per), weights),
        jnp.ones(columns),
        jnp.zeros(columns, jnp.int32),
        jnp.zeros(columns),
    )


@cache
def load_library() -> None:
    """Load the library, once; raise InputError if it is not built or cannot be loaded."""
    path = library_path()
    if not path.exists():
        raise InputError(f"--engine cpu is not built: run {COMMAND}, or use --engine scan")
    try:
        library = ctypes.cdll.LoadLibrary(str(path))
    except OSError as error:  # corrupt, or in a folder whose files cannot be run
        raise InputError(
            f"{path}: cannot be loaded ({reason(error)}): remove it, then {COMMAND}"
        ) from error
    for target, function in ((TARGET, "V2sGenerate"), (MULTIPLY_TARGET, "V2sMultiply")):
        capsule = jax.ffi.pycapsule(getattr(library, function))
        jax.ffi.register_ffi_target(target, capsule, platform="cpu")
