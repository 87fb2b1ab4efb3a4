"""The sampler's tiers, one tick at a time, with a rule of the test for choosing each level."""

import jax
import jax.numpy as jnp

from v2s_jax.model import Carry, InferenceParams, StepCarry, VideoToSound
from v2s_jax.sampling.scan_engine import (
    ScanWeights,
    SelectFn,
    fused_output_kernels,
    run_big_frame,
    scan_samples,
    to_step_carry,
)


def run_tiers(
    model: VideoToSound,
    folded: InferenceParams,
    carry: Carry,
    visual_gates: jax.Array | None,
    noise_or_levels: jax.Array,
    select_fn: SelectFn,
) -> tuple[Carry, jax.Array]:
    """Run the tiers over whole big frames [batch samples] inside one video frame.

    Returns the carry and the outputs of `select_fn`, [batch samples ...].
    """
    batch, samples = noise_or_levels.shape
    by_big_frame = noise_or_levels.reshape(batch, -1, model.config.model.big_frame_size)
    weights = ScanWeights(folded, fused_output_kernels(model, folded))
    run_samples = scan_samples(model, folded, select_fn)

    def tick(carry: StepCarry, inputs: jax.Array) -> tuple[StepCarry, jax.Array]:
        return run_big_frame(model, weights, carry, visual_gates, inputs, run_samples)

    last, outputs = jax.lax.scan(
        tick, to_step_carry(model, weights, carry), jnp.swapaxes(by_big_frame, 0, 1)
    )
    return last.carry(), jnp.swapaxes(outputs.reshape(samples, *outputs.shape[2:]), 0, 1)
