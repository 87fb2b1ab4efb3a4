"""The tiers, one tick at a time: a big frame, the frames in it, the samples in those.

These are the tiers of training with three changes that save time: weight norm is folded into the
kernels, embedding x first layer into lookup tables, and each state h is multiplied once by the
joined kernels of all its readers. The caller chooses each sample's level: from noise to generate,
or the given level to compare the same program with teacher forcing.

`ScanEngine` is the reference engine: it runs every model on every device, and the other engines are
tested against it. Its weights can be bfloat16, or int8 with a scale per output: where memory
bandwidth is the limit (one clip of preset `paper`), fewer bytes per weight give more samples per
second.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from v2s_jax.kernels.frame_kernel import FrameKernel
from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, OutputLevel
from v2s_jax.kernels.packing import WeightFormat, quantize_int8
from v2s_jax.model import (
    SCALE_SUFFIX,
    Carry,
    FusedOutputKernels,
    InferenceParams,
    ScaledKernel,
    StepCarry,
    StepState,
    VideoToSound,
)
from v2s_jax.sampling.rng import inverse_cdf

UNROLL = 4
"""Samples per iteration of the innermost loop: 9 % faster on a CPU than 1."""

ROUNDED = ("input_kernel", "kernel")
"""Names of the kernels that are stored in other formats than float32."""

SelectFn = Callable[[Array, Array], tuple[Array, Any]]
"""Chooses the next level: (logits [batch q_levels], noise or level [batch]) -> (level, outputs)."""
SampleTierFn = Callable[[Array, Array, Array], tuple[Array, Any]]
"""Runs the sample tier over the samples of one tick of the tier above: (window [batch frame_size],
conditioning [batch samples mlp_dim], noise or levels [samples batch])
-> (window, outputs [samples batch ...])."""


class ScanWeights(NamedTuple):
    """Weights in the layout of the scan."""

    tiers: InferenceParams
    fused_kernels: FusedOutputKernels
    """Joined kernels by which each layer of the upper tiers multiplies its new h.

    Copies: in preset `paper` they add a third to the weights."""


def run_big_frame(
    model: VideoToSound,
    weights: ScanWeights,
    carry: StepCarry,
    visual_gates: Float[Array, "batch gates"] | None,
    noise_or_levels: Float[Array, "batch big_frame_size"] | Int[Array, "batch big_frame_size"],
    run_samples: SampleTierFn,
) -> tuple[StepCarry, Any]:
    """Run the tiers over the samples of one big frame; `run_samples` chooses the levels.

    Returns the carry, and the outputs of `run_samples`: arrays [big_frame_size batch ...].
    """
    c = model.config.model
    fused_kernels = weights.fused_kernels

    def apply(method: Callable[..., Any], *args: Any) -> Any:
        return model.apply(weights.tiers.params, *args, method=method)

    def frame(carry: tuple[StepState, Array], inputs: tuple[Array, Array]) -> tuple[Any, Any]:
        state, window = carry
        gates, frame_inputs = inputs
        state, conditioning = apply(
            lambda m, *a: m.sample_rnn.step_frame_tier(*a),
            state,
            window,
            gates,
            weights.tiers.frame_kernel,
            fused_kernels.frame,
        )
        window, outputs = run_samples(window, conditioning, frame_inputs)
        return (state, window), (window, outputs)

    big_frame, conditioning = apply(
        lambda m, *a: m.sample_rnn.step_big_frame_tier(*a),
        carry.big_frame,
        carry.levels,
        visual_gates,
        fused_kernels.big_frame,
    )
    if carry.frame is None:
        lookback, outputs = run_samples(carry.levels, conditioning, noise_or_levels.T)
        return StepCarry(big_frame, None, lookback), outputs
    by_frame = noise_or_levels.T.reshape(c.ratio, c.frame_size, -1)
    (frame_state, _), (windows, outputs) = jax.lax.scan(
        frame,
        (carry.frame, carry.levels[:, -c.frame_size :]),
        (jnp.swapaxes(conditioning, 0, 1), by_frame),
    )
    lookback = jnp.swapaxes(windows, 0, 1).reshape(carry.levels.shape)

    def flatten(leaf: Array) -> Array:
        return leaf.reshape(c.big_frame_size, *leaf.shape[2:])

    return StepCarry(big_frame, frame_state, lookback), jax.tree.map(flatten, outputs)


def fused_output_kernels(model: VideoToSound, folded: InferenceParams) -> FusedOutputKernels:
    """Return the joined kernels by which the upper tiers multiply their new h."""
    return model.apply(folded.params, method=lambda m: m.sample_rnn.fused_kernels())  # type: ignore[return-value]


def to_step_carry(model: VideoToSound, weights: ScanWeights, carry: Carry) -> StepCarry:
    """Return a carry with the cached products that the first tick needs."""
    return model.apply(  # type: ignore[return-value]
        weights.tiers.params,
        carry,
        weights.fused_kernels,
        method=lambda m, *a: m.sample_rnn.to_step_state(*a),
    )


def scan_samples(model: VideoToSound, folded: InferenceParams, select_fn: SelectFn) -> SampleTierFn:
    """Return the sample tier as a scan; `select_fn` chooses each level."""

    def sample(window: Array, inputs: tuple[Array, Array]) -> tuple[Array, Any]:
        conditioning, noise_or_level = inputs
        logits: Array = model.apply(  # type: ignore[assignment]
            folded.params,
            folded.tables,
            window,
            conditioning,
            method=lambda m, *a: m.sample_rnn.sample_logits(*a),
        )
        level, outputs = select_fn(logits, noise_or_level)
        return jnp.concatenate([window[:, 1:], level[:, None]], axis=1), outputs

    def run_samples(window: Array, conditioning: Array, inputs: Array) -> tuple[Array, Any]:
        by_sample = (jnp.swapaxes(conditioning, 0, 1), inputs)
        return jax.lax.scan(sample, window, by_sample, unroll=min(UNROLL, len(inputs)))

    return run_samples


class EngineWeights(NamedTuple):
    """Weights of the scan, and of the frame kernel if there is one."""

    scan: ScanWeights
    kernel: Any | None


class ScanEngine:
    """Nested scans, compiled by XLA; the innermost can be replaced by a kernel."""

    batch_invariant = False

    def __init__(
        self, model: VideoToSound, weights: WeightFormat, kernel: FrameKernel | None = None
    ) -> None:
        self._model = model
        self._weights = weights
        self._kernel = kernel

    def pack(self, folded: InferenceParams) -> EngineWeights:
        """Join the kernels that read the same h, and store them in the engine's weight format."""
        kernel = None if self._kernel is None else self._kernel.pack(folded)
        fused_kernels = fused_output_kernels(self._model, folded)
        if self._weights != "float32":
            fused_kernels = jax.tree.map(self._round, fused_kernels)
            folded = self._round_tiers(folded)
        return EngineWeights(ScanWeights(folded, fused_kernels), kernel)

    def _round(self, kernel: Array) -> Array | ScaledKernel:
        if self._weights == "int8":
            return ScaledKernel(*quantize_int8(kernel))
        return kernel.astype(self._weights)

    def _round_tiers(self, folded: InferenceParams) -> InferenceParams:
        """Round the frame tier's input kernel and the sample tier.

        The other large kernels are in `fused_kernels`. The inputs of video frames and big frames
        stay exact.
        """
        tree = folded.params["params"]
        tiers = dict(tree["sample_rnn"])
        tiers["sample_tier"] = round_weights(tiers["sample_tier"], self._weights)
        if "frame_tier" in tiers:
            cell, frame = self._model.config.model.cell, tiers["frame_tier"]
            tiers["frame_tier"] = frame | {cell: round_weights(frame[cell], self._weights)}
        return folded._replace(params={"params": tree | {"sample_rnn": tiers}})

    def run_big_frames(
        self, weights: EngineWeights, carry: Carry, inputs: BlockInputs, keep: OutputLevel
    ) -> tuple[Carry, BlockOutputs]:
        """Run the tiers over `inputs.ticks` big frames, one iteration of a loop for each.

        The loop's body, and so its rounding, is the same for any number of iterations.
        """
        video_frames, batch_size, per_frame, size = inputs.noise.shape
        samples = video_frames * per_frame * size
        run_samples = self._sample_tier(weights, inputs, keep)

        def tick(
            done: Array, loop: tuple[StepCarry, BlockOutputs]
        ) -> tuple[StepCarry, BlockOutputs]:
            carry, outputs = loop
            video_frame, index = jnp.divmod(inputs.offset + done, per_frame)
            gates = inputs.gates_at(inputs.offset + done)
            if inputs.forced is None:
                by_sample = jax.lax.dynamic_index_in_dim(
                    inputs.noise[video_frame], index, 1, keepdims=False
                )
            else:
                by_sample = jax.lax.dynamic_slice_in_dim(inputs.forced, done * size, size).T
            carry, new = run_big_frame(
                self._model, weights.scan, carry, gates, by_sample, run_samples
            )

            def write(buffer: Array, values: Array) -> Array:
                return jax.lax.dynamic_update_slice_in_dim(buffer, values, done * size, axis=0)

            return carry, jax.tree.map(write, outputs, new)

        q_levels = self._model.config.model.q_levels
        empty = BlockOutputs(
            jnp.zeros((samples, batch_size), jnp.uint8),
            None if keep == "levels" else jnp.zeros((samples, batch_size)),
            jnp.zeros((samples, batch_size, q_levels)) if keep == "logits" else None,
        )
        first = to_step_carry(self._model, weights.scan, carry)
        last, outputs = jax.lax.fori_loop(0, inputs.ticks, tick, (first, empty))
        return last.carry(), outputs

    def _sample_tier(
        self, weights: EngineWeights, inputs: BlockInputs, keep: OutputLevel
    ) -> SampleTierFn:
        """Return the sample tier: a scan, or the kernel."""
        forced = inputs.forced is not None

        def select_fn(logits: Array, noise_or_level: Array) -> tuple[Array, BlockOutputs]:
            tempered = logits / inputs.temperature
            level = noise_or_level if forced else inverse_cdf(tempered, noise_or_level)
            nll = None
            if keep != "levels":
                chosen = jnp.take_along_axis(tempered, level[:, None], axis=-1)[:, 0]
                nll = jax.nn.logsumexp(tempered, axis=-1) - chosen
            return level, BlockOutputs(
                level.astype(jnp.uint8), nll, logits if keep == "logits" else None
            )

        kernel, kernel_weights = self._kernel, weights.kernel
        if kernel is None:
            return scan_samples(self._model, weights.scan.tiers, select_fn)

        def run_kernel(
            window: Array, conditioning: Array, noise_or_levels: Array
        ) -> tuple[Array, BlockOutputs]:
            by_slot = kernel(
                kernel_weights, window, conditioning, noise_or_levels.T, inputs.temperature, keep
            )
            levels, nll, logits = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), by_slot)
            return by_slot.levels, BlockOutputs(levels.astype(jnp.uint8), nll, logits)

        return run_kernel


def round_weights(tree: dict[str, Any], weights: WeightFormat) -> dict[str, Any]:
    """Return a tier's parameters with its kernels in another format."""
    rounded: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            rounded[name] = round_weights(value, weights)
        elif name not in ROUNDED:
            rounded[name] = value
        elif weights == "int8":
            rounded[name], rounded[name + SCALE_SUFFIX] = quantize_int8(value)
        else:
            rounded[name] = value.astype(weights)
    return rounded
