"""The tiers run one tick at a time: a big frame, the frames in it, the samples in those.

They are the tiers of training, with weight norm folded away and embedding x first layer folded to
tables, and each h multiplied by all that reads it in one product. What is chosen at each sample is
the caller's: noise decides when generating, the true sound when the same program is held against
teacher forcing.

`ScanEngine` is the plain engine, which runs on every device and every model, and which the others
are held to. Its weights may lie in bfloat16, or in int8 with a scale for each output: where memory
is the limit, a clip alone at the sizes of `paper`, fewer bytes are more samples.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from v2s_jax.kernels.interface import BlockInputs, BlockOutputs, FrameKernel, OutputLevel
from v2s_jax.kernels.packing import WeightFormat, quantise
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
"""Samples in one turn of the innermost loop: 9 % more of them on a CPU than with one."""

ROUNDED = ("input_kernel", "kernel")
"""Kernels of a tier that other formats than float32 apply to, where they are read by themselves."""

SelectFn = Callable[[Array, Array], tuple[Array, Any]]
"""Choose the next level: (logits [batch q_levels], given [batch]) -> (level, kept)."""
SampleTierFn = Callable[[Array, Array, Array], tuple[Array, Any]]
"""Run the sample tier over the samples that one tick above conditions: (window [batch frame_size],
conditioning [batch samples mlp_dim], given [samples batch]) -> (window, kept [samples batch ...]).
"""


class ScanWeights(NamedTuple):
    """The weights as the scan reads them."""

    tiers: InferenceParams
    fused_kernels: FusedOutputKernels
    """What each layer of the upper tiers multiplies its new h by, in one product.

    Copies: at the sizes of `paper` a third of the weights once more."""


def run_big_frame(
    model: VideoToSound,
    weights: ScanWeights,
    carry: StepCarry,
    visual_gates: Float[Array, "batch gates"] | None,
    given: Float[Array, "batch big_frame_size"] | Int[Array, "batch big_frame_size"],
    samples: SampleTierFn,
) -> tuple[StepCarry, Any]:
    """Run the tiers over the samples of one big frame, choosing each level with `samples`.

    `given` holds what those get for each sample: noise when generating, the true levels when
    scoring. Returns the carry and what `samples` kept: arrays [big_frame_size batch ...].
    """
    c = model.config.model
    fused_kernels = weights.fused_kernels

    def apply(method: Callable[..., Any], *args: Any) -> Any:
        return model.apply(weights.tiers.params, *args, method=method)

    def frame(state: tuple[StepState, Array], inputs: tuple[Array, Array]) -> tuple[Any, Any]:
        primed, window = state
        gates, given_frame = inputs
        primed, conditioning = apply(
            lambda m, *a: m.sample_rnn.step_frame_tier(*a),
            primed,
            window,
            gates,
            weights.tiers.frame_kernel,
            fused_kernels.frame,
        )
        window, kept = samples(window, conditioning, given_frame)
        return (primed, window), (window, kept)

    big_frame, conditioning = apply(
        lambda m, *a: m.sample_rnn.step_big_frame_tier(*a),
        carry.big_frame,
        carry.levels,
        visual_gates,
        fused_kernels.big_frame,
    )
    if carry.frame is None:
        lookback, kept = samples(carry.levels, conditioning, given.T)
        return StepCarry(big_frame, None, lookback), kept
    given_by_frame = given.T.reshape(c.ratio, c.frame_size, -1)
    (below, _), (windows, kept) = jax.lax.scan(
        frame,
        (carry.frame, carry.levels[:, -c.frame_size :]),
        (jnp.swapaxes(conditioning, 0, 1), given_by_frame),
    )
    lookback = jnp.swapaxes(windows, 0, 1).reshape(carry.levels.shape)

    def in_order(by_frame: Array) -> Array:
        return by_frame.reshape(c.big_frame_size, *by_frame.shape[2:])

    return StepCarry(big_frame, below, lookback), jax.tree.map(in_order, kept)


def fused_output_kernels(model: VideoToSound, folded: InferenceParams) -> FusedOutputKernels:
    """Return what the upper tiers multiply their new h by."""
    return model.apply(folded.params, method=lambda m: m.sample_rnn.fused_kernels())  # type: ignore[return-value]


def to_step_carry(model: VideoToSound, weights: ScanWeights, carry: Carry) -> StepCarry:
    """Return a carry with the products that the first tick waits for."""
    return model.apply(  # type: ignore[return-value]
        weights.tiers.params,
        carry,
        weights.fused_kernels,
        method=lambda m, *a: m.sample_rnn.to_step_state(*a),
    )


def scan_samples(model: VideoToSound, folded: InferenceParams, select_fn: SelectFn) -> SampleTierFn:
    """Return the sample tier as a scan that chooses each level with `pick`."""

    def sample(window: Array, inputs: tuple[Array, Array]) -> tuple[Array, Any]:
        conditioning, given_now = inputs
        logits: Array = model.apply(  # type: ignore[assignment]
            folded.params,
            folded.tables,
            window,
            conditioning,
            method=lambda m, *a: m.sample_rnn.sample_logits(*a),
        )
        level, kept = select_fn(logits, given_now)
        return jnp.concatenate([window[:, 1:], level[:, None]], axis=1), kept

    def samples(window: Array, conditioning: Array, given_frame: Array) -> tuple[Array, Any]:
        by_sample = (jnp.swapaxes(conditioning, 0, 1), given_frame)
        return jax.lax.scan(sample, window, by_sample, unroll=min(UNROLL, len(given_frame)))

    return samples


def run_tiers(
    model: VideoToSound,
    folded: InferenceParams,
    carry: Carry,
    visual_gates: Float[Array, "batch gates"] | None,
    given: Float[Array, "batch samples"] | Int[Array, "batch samples"],
    select_fn: SelectFn,
) -> tuple[Carry, Array]:
    """Run the tiers over whole big frames that lie in one video frame.

    Returns the carry and what `pick` kept, [batch samples ...].
    """
    batch, samples = given.shape
    by_big_frame = given.reshape(batch, -1, model.config.model.big_frame_size)

    weights = ScanWeights(folded, fused_output_kernels(model, folded))
    samples_of = scan_samples(model, folded, select_fn)

    def tick(carry: StepCarry, given_now: Array) -> tuple[StepCarry, Array]:
        return run_big_frame(model, weights, carry, visual_gates, given_now, samples_of)

    last, kept = jax.lax.scan(
        tick, to_step_carry(model, weights, carry), jnp.swapaxes(by_big_frame, 0, 1)
    )
    return last.carry(), jnp.swapaxes(kept.reshape(samples, *kept.shape[2:]), 0, 1)


class EngineWeights(NamedTuple):
    """The scan's weights, and those of the kernel where there is one."""

    scan: ScanWeights
    of_kernel: Any | None


class ScanEngine:
    """Nested scans, compiled by XLA; the innermost may be a kernel instead."""

    batch_invariant = False

    def __init__(
        self, model: VideoToSound, weights: WeightFormat, kernel: FrameKernel | None = None
    ) -> None:
        self._model = model
        self._weights = weights
        self._kernel = kernel

    def pack(self, folded: InferenceParams) -> EngineWeights:
        """Join the kernels that one h is multiplied by; round what is read over and over."""
        of_kernel = None if self._kernel is None else self._kernel.pack(folded)
        fused_kernels = fused_output_kernels(self._model, folded)
        if self._weights != "float32":
            fused_kernels = jax.tree.map(
                partial(_rounded_kernel, weights=self._weights), fused_kernels
            )
            folded = self._rounded(folded)
        return EngineWeights(ScanWeights(folded, fused_kernels), of_kernel)

    def _rounded(self, folded: InferenceParams) -> InferenceParams:
        """Round the frame tier's input kernel and the sample tier.

        `outward` holds the other large ones. What video frames enter by stays exact, and so does
        the big frames' input.
        """
        tree = folded.params["params"]
        tiers = dict(tree["sample_rnn"])
        tiers["sample_tier"] = round_weights(tiers["sample_tier"], self._weights)
        if "frame_tier" in tiers:
            cell, frame = self._model.config.model.cell, tiers["frame_tier"]
            tiers["frame_tier"] = frame | {cell: round_weights(frame[cell], self._weights)}
        return folded._replace(params={"params": tree | {"sample_rnn": tiers}})

    def big_frames(
        self, weights: EngineWeights, carry: Carry, given: BlockInputs, keep: OutputLevel
    ) -> tuple[Carry, BlockOutputs]:
        """Run the tiers over `given.ticks` big frames, one turn of a loop for each.

        The loop's body is the same for any number of them: so is every rounding.
        """
        video_frames, batch_size, per_frame, size = given.noise.shape
        samples = video_frames * per_frame * size

        run_samples = self._samples(weights, given, keep)

        def tick(
            done: Array, loop: tuple[StepCarry, BlockOutputs]
        ) -> tuple[StepCarry, BlockOutputs]:
            carry, drawn = loop
            video_frame, place = jnp.divmod(given.offset + done, per_frame)
            gates = None if given.gates is None else given.gates[video_frame]
            if given.forced is None:
                by_sample = jax.lax.dynamic_index_in_dim(
                    given.noise[video_frame], place, 1, keepdims=False
                )
            else:
                by_sample = jax.lax.dynamic_slice_in_dim(given.forced, done * size, size).T
            carry, new = run_big_frame(
                self._model, weights.scan, carry, gates, by_sample, run_samples
            )

            def into(kept: Array, now: Array) -> Array:
                return jax.lax.dynamic_update_slice_in_dim(kept, now, done * size, axis=0)

            return carry, jax.tree.map(into, drawn, new)

        q_levels = self._model.config.model.q_levels
        empty = BlockOutputs(
            jnp.zeros((samples, batch_size), jnp.uint8),
            None if keep == "levels" else jnp.zeros((samples, batch_size)),
            jnp.zeros((samples, batch_size, q_levels)) if keep == "logits" else None,
        )
        first = to_step_carry(self._model, weights.scan, carry)
        last, drawn = jax.lax.fori_loop(0, given.ticks, tick, (first, empty))
        return last.carry(), drawn

    def _samples(
        self, weights: EngineWeights, given: BlockInputs, keep: OutputLevel
    ) -> SampleTierFn:
        """Return what runs the sample tier: a scan, or the kernel."""
        forced = given.forced is not None

        def select_fn(logits: Array, given_now: Array) -> tuple[Array, BlockOutputs]:
            tempered = logits / given.temperature
            level = given_now if forced else inverse_cdf(tempered, given_now)
            nats = None
            if keep != "levels":
                chosen = jnp.take_along_axis(tempered, level[:, None], axis=-1)[:, 0]
                nats = jax.nn.logsumexp(tempered, axis=-1) - chosen
            return level, BlockOutputs(
                level.astype(jnp.uint8), nats, logits if keep == "logits" else None
            )

        kernel, of_kernel = self._kernel, weights.of_kernel
        if kernel is None:
            return scan_samples(self._model, weights.scan.tiers, select_fn)

        def samples(
            window: Array, conditioning: Array, given_frame: Array
        ) -> tuple[Array, BlockOutputs]:
            levels, nats, logits = kernel(
                of_kernel, window, conditioning, given_frame.T, given.temperature, keep
            )
            by_row = BlockOutputs(levels.astype(jnp.uint8), nats, logits)
            return levels, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), by_row)

        return samples


def round_weights(tree: dict[str, Any], weights: WeightFormat) -> dict[str, Any]:
    """Return a tier's parameters with its kernels in another format."""
    new: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            new[name] = round_weights(value, weights)
        elif name not in ROUNDED:
            new[name] = value
        else:
            kernel = _rounded_kernel(value, weights)
            if isinstance(kernel, ScaledKernel):
                new[name], new[name + SCALE_SUFFIX] = kernel
            else:
                new[name] = kernel
    return new


def _rounded_kernel(kernel: Array, weights: WeightFormat) -> Array | ScaledKernel:
    if weights == "bfloat16":
        return kernel.astype(jnp.bfloat16)
    return ScaledKernel(*quantise(kernel))
