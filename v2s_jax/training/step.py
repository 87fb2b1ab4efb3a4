"""The training step: truncated BPTT over the chunks of a batch of clips.

Whole clips are on the device. Each update reads their next chunk, starts from the carry that the
previous chunk left (values only, no gradient) and changes the parameters once. One compiled call
makes several updates. The functions are pure and do not know about devices: `all_reduce_sum` adds a
pytree up over all of them.

With plain truncated BPTT the encoder of Seq and Flow only learns from the first chunk of each clip,
because the gradient of every later chunk stops at the carry. With `encoder_bptt_chunks` k > 1 the
first update of a clip back-propagates through k chunks to the encoder. Their activations are
recomputed in the backward pass, so memory grows by one carry per chunk. The other updates, and so
the number of updates, stay the same.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model import (
    HIDDEN_ACTIVATION,
    Carry,
    VideoToSound,
    encode,
    forward,
    has_loudness,
    initial_carry,
    window_frames,
)
from v2s_jax.model.loss import masked_nll
from v2s_jax.quantize import q_zero
from v2s_jax.training.loudness import loudness_loss
from v2s_jax.training.state import TrainState, apply_gradients

DROPOUT = 2**32 - 1
"""Folded into the key of the run, where noise has the number of a batch."""
ALL = "all"
"""Key of the whole gradient among its parts."""

AllReduceSum = Callable[[Any], Any]
"""Sums every leaf of a pytree over all devices."""


class DeviceBatch(NamedTuple):
    """Whole clips on the device: `Batch` without what only the host needs."""

    levels: UInt8[Array, "batch samples"]
    features: Float[Array, "batch video_frames feature_dim"]
    mask: Bool[Array, "batch samples"]
    clip_index: Int[Array, " batch"] | None = None
    """Names the clips, for noise on their inputs; None: no noise."""


class UpdateMetrics(NamedTuple):
    """Metrics of an update; the step adds a leading axis, one entry per update of a call."""

    nll: Float[Array, "..."]
    """Nats per sample."""
    samples: Float[Array, "..."]
    """Number of samples in this mean, padding excluded."""
    gradient_norm: dict[str, Float[Array, "..."]]
    """Euclidean norm for each part of the model, and for ALL, before clipping."""


def chunks_per_clip(config: Config, samples: int) -> int:
    """Return the number of updates per batch of clips of `samples` samples.

    Raises InputError when `chunk_samples` does not divide them.
    """
    chunk = config.training.chunk_samples
    if samples % chunk:
        raise InputError(
            f"chunk_samples {chunk} does not divide the data's {samples} samples per clip: "
            f"use {config.clock.samples_per_video_frame}"
        )
    return samples // chunk


def steps_in_call(config: Config, samples: int) -> int:
    """Return the updates per call: the largest divisor of `chunks` up to `steps_per_call`."""
    chunks = chunks_per_clip(config, samples)
    limit = min(config.training.steps_per_call, chunks)
    return max(n for n in range(1, limit + 1) if chunks % n == 0)


def encoder_bptt_window(config: Config, chunks: int) -> int:
    """Return the number of chunks through which a clip's first update back-propagates."""
    if not config.model.encodes_video:
        return 1
    return min(config.training.encoder_bptt_chunks or chunks, chunks)


class Chunk(NamedTuple):
    """One chunk of a batch of clips."""

    carry: Carry
    """The state before the chunk."""
    batch: DeviceBatch
    number: Int[Array, ""]
    """Its position in the clips, in chunks."""
    batch_number: Int[Array, ""] | None = None
    """Position of the batch in the run, for noise on its inputs; None in evaluation."""


def _slice_chunk(config: Config, batch: DeviceBatch, index: Int[Array, ""]) -> DeviceBatch:
    """Slice one chunk and its video frames out of whole clips."""
    size, per_frame = config.training.chunk_samples, config.clock.samples_per_video_frame
    start = index * size

    def cut(x: Array, first: Array, length: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, first, length, axis=1)

    features = _slice_window(config, batch, start // per_frame, max(1, size // per_frame))
    levels, mask = cut(batch.levels, start, size), cut(batch.mask, start, size)
    return DeviceBatch(levels, features, mask, batch.clip_index)


def _slice_window(
    config: Config, batch: DeviceBatch, first: Int[Array, ""], count: int
) -> Float[Array, "batch window feature_dim"]:
    """Slice `count` video frames and their context out of whole clips, as `window_frames` says."""
    if config.model.window == 1:
        return jax.lax.dynamic_slice_in_dim(batch.features, first, count, axis=1)
    video_frames = jnp.sum(_frame_mask(config, batch), axis=1, dtype=jnp.int32)

    def cut(features: Array, video_frames: Array) -> Array:
        return features[window_frames(config.model, first, count, video_frames)]

    return jax.vmap(cut)(batch.features, jnp.maximum(video_frames, 1))


def _frame_mask(config: Config, batch: DeviceBatch) -> Bool[Array, "batch video_frames"]:
    """Return which video frames are not padding: those whose first sample is not."""
    return batch.mask[:, :: config.clock.samples_per_video_frame]


def _initial_carry(model: VideoToSound, params: dict[str, Any], batch: DeviceBatch) -> Carry:
    """Return the carry before the first samples of the clips, with their videos encoded."""
    carry = initial_carry(model, params, len(batch.levels))
    return encode(model, params, carry, batch.features, _frame_mask(model.config, batch))


def add_input_noise(
    config: Config, levels: Int[Array, "batch samples"], chunk: Chunk
) -> Int[Array, "batch samples"]:
    """Add noise to the levels that the tiers read of a chunk; see `input_noise_levels`.

    Noise depends on the seed, the clip and the position in the run, not on rows or devices.
    """
    training, clips, batch_number = config.training, chunk.batch.clip_index, chunk.batch_number
    if not training.input_noise_levels or clips is None or batch_number is None:
        return levels
    batch_key = jax.random.fold_in(jax.random.key(training.seed), batch_number)

    def noise(clip: Array) -> Array:
        size_key, key = jax.random.split(jax.random.fold_in(batch_key, clip))
        is_noisy, size = jax.random.uniform(size_key, (2,))
        scale = training.input_noise_levels * size * (is_noisy < training.input_noise_share)
        return scale * jax.random.normal(jax.random.fold_in(key, chunk.number), levels.shape[1:])

    noisy = levels + jnp.round(jax.vmap(noise)(clips)).astype(jnp.int32)
    return jnp.clip(noisy, 0, config.model.q_levels - 1)


def drop_inputs(
    config: Config, levels: Int[Array, "batch samples"], chunk: Chunk
) -> Int[Array, "batch samples"]:
    """Hide the end of some chunks from the tiers; see `input_dropout_share`."""
    training, clips, batch_number = config.training, chunk.batch.clip_index, chunk.batch_number
    if not training.input_dropout_share or clips is None or batch_number is None:
        return levels
    size = levels.shape[1]
    dropout_key = jax.random.fold_in(jax.random.key(training.seed), DROPOUT)
    batch_key = jax.random.fold_in(dropout_key, batch_number)

    def first_hidden(clip: Array) -> Array:
        def hidden_by(ago: Array) -> Array:
            """Return where the span that began some chunks ago begins in this one."""
            began = chunk.number - ago
            clip_key = jax.random.fold_in(jax.random.fold_in(batch_key, clip), began)
            is_hidden, start = jax.random.uniform(clip_key, (2,))
            is_hidden = (is_hidden < training.input_dropout_share) & (began >= 0)
            return jnp.where(is_hidden, (start - ago) * size, size)

        return jnp.min(jax.vmap(hidden_by)(jnp.arange(training.input_dropout_chunks)))

    hidden = jnp.arange(size)[None] >= jax.vmap(first_hidden)(clips)[:, None]
    return jnp.where(hidden, q_zero(config.model.q_levels), levels)


def _chunk_nll_by_clip(
    model: VideoToSound, params: dict[str, Any], chunk: Chunk
) -> tuple[Float[Array, " batch"], Carry]:
    """Return the NLL of each clip in one chunk (nats), and the carry after it."""
    inputs = _slice_chunk(model.config, chunk.batch, chunk.number)
    levels = inputs.levels.astype(jnp.int32)
    seen = drop_inputs(model.config, add_input_noise(model.config, levels, chunk), chunk)
    carry, logits = forward(model, params, chunk.carry, seen, inputs.features)
    return masked_nll(logits, levels, inputs.mask), carry


def _chunk_nll(
    model: VideoToSound, params: dict[str, Any], chunk: Chunk
) -> tuple[Float[Array, ""], Carry]:
    """Return the summed NLL of one chunk (nats), to be differentiated, and the carry after it."""

    def nll(params: dict[str, Any], carry: Carry) -> tuple[Array, Carry]:
        by_clip, carry = _chunk_nll_by_clip(model, params, chunk._replace(carry=carry))
        return jnp.sum(by_clip), carry

    if model.config.training.remat:
        policy = jax.checkpoint_policies.save_only_these_names(HIDDEN_ACTIVATION)
        return jax.checkpoint(nll, policy=policy)(params, chunk.carry)
    return nll(params, chunk.carry)


def _window_nll(
    model: VideoToSound, params: dict[str, Any], first: Chunk, chunks: int
) -> tuple[Float[Array, ""], Carry]:
    """Return the summed NLL of the first chunks of the clips, and the carry after the first one."""

    @partial(jax.checkpoint, prevent_cse=False)  # the scan already prevents CSE
    def scan_chunk(carry: Carry, index: Array) -> tuple[Carry, tuple[Array, Carry]]:
        nll, carry = _chunk_nll(model, params, first._replace(carry=carry, number=index))
        return carry, (nll, carry)

    start = _initial_carry(model, params, first.batch)
    _, (nlls, carries) = jax.lax.scan(scan_chunk, start, jnp.arange(chunks))
    return jnp.sum(nlls), jax.tree.map(lambda by_chunk: by_chunk[0], carries)


def _gradient_norms(gradient: dict[str, Any]) -> dict[str, Float[Array, ""]]:
    parts = dict(gradient["params"])
    parts |= parts.pop("sample_rnn")
    return {ALL: optax.tree.norm(gradient)} | {
        name: optax.tree.norm(part) for name, part in parts.items()
    }


LossAndGradient = tuple[tuple[Float[Array, ""], Carry], dict[str, Any]]
"""((summed NLL, next carry), gradient)."""


def _gradient(model: VideoToSound, params: dict[str, Any], chunk: Chunk) -> LossAndGradient:
    """Return loss, next carry and gradient of the update at `chunk`."""
    batch, number = chunk.batch, chunk.number
    window = encoder_bptt_window(model.config, chunks_per_clip(model.config, batch.levels.shape[1]))

    def window_loss(params: dict[str, Any]) -> tuple[Array, Carry]:
        return _window_nll(model, params, chunk, window)

    def chunk_loss(params: dict[str, Any]) -> tuple[Array, Carry]:
        return _chunk_nll(model, params, chunk)

    def loss_at_any_chunk(params: dict[str, Any]) -> tuple[Array, tuple[Array, Carry]]:
        carry = jax.lax.cond(
            number == 0, lambda: _initial_carry(model, params, batch), lambda: chunk.carry
        )
        nll, carry = _chunk_nll(model, params, chunk._replace(carry=carry))
        return nll + _auxiliary_loss(model, params, batch), (nll, carry)

    def differentiate(loss: Callable[..., Any]) -> Callable[..., Any]:
        return jax.value_and_grad(loss, has_aux=True)

    if window == 1:
        (_, nll_and_carry), gradient = differentiate(loss_at_any_chunk)(params)
        return nll_and_carry, gradient
    return jax.lax.cond(number == 0, differentiate(window_loss), differentiate(chunk_loss), params)


def _auxiliary_loss(
    model: VideoToSound, params: dict[str, Any], batch: DeviceBatch
) -> Float[Array, ""]:
    """Return the loudness loss of whole clips, for as many samples as a chunk has.

    Every update looks at whole clips: next to the tiers the context encoder costs nothing, and a
    chunk of one video frame would teach it little.
    """
    config = model.config
    if not has_loudness(config):
        return jnp.float32(0)
    chunks = chunks_per_clip(config, batch.levels.shape[1])
    return clip_loudness_loss(model, params, batch) / chunks


def clip_loudness_loss(
    model: VideoToSound, params: dict[str, Any], batch: DeviceBatch
) -> Float[Array, ""]:
    """Return the loudness loss of whole clips, summed over their samples."""
    levels = batch.levels.astype(jnp.int32)
    window = _slice_window(model.config, batch, jnp.int32(0), batch.features.shape[1])
    return loudness_loss(model, params, levels, window, batch.mask)


def _accumulated_gradient(
    model: VideoToSound, params: dict[str, Any], chunk: Chunk
) -> LossAndGradient:
    """Return the result of `_gradient`, computed one micro-batch after the other."""
    micro_batches = model.config.training.grad_accum_steps
    if micro_batches == 1:
        return _gradient(model, params, chunk)
    carry_and_batch = jax.tree.map(
        lambda x: x.reshape(micro_batches, -1, *x.shape[1:]), (chunk.carry, chunk.batch)
    )

    def accumulate(sums: Any, inputs: tuple[Carry, DeviceBatch]) -> tuple[Any, Carry]:
        carry, batch = inputs
        (nll, carry), gradient = _gradient(model, params, chunk._replace(carry=carry, batch=batch))
        return jax.tree.map(jnp.add, sums, (nll, gradient)), carry

    zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    (nll, gradient), carries = jax.lax.scan(accumulate, zeros, carry_and_batch)
    return (nll, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carries)), gradient


def train_step(
    model: VideoToSound,
    num_steps: int,
    state: TrainState,
    carry: Carry,
    batch: DeviceBatch,
    *,
    all_reduce_sum: AllReduceSum,
) -> tuple[TrainState, Carry, UpdateMetrics]:
    """Make `num_steps` updates, one for each of the next chunks of `batch`.

    `state.step` says which chunk is next. The first chunk of a clip starts from the model's initial
    carry and the encoded video, so that both are learned.
    """
    config = model.config
    chunks = chunks_per_clip(config, batch.levels.shape[1])
    window = encoder_bptt_window(config, chunks)

    def update(
        loop: tuple[TrainState, Carry], _: None
    ) -> tuple[tuple[TrainState, Carry], UpdateMetrics]:
        state, carry = loop
        index = state.step % chunks
        (nll, carry), gradient = _accumulated_gradient(
            model, state.params, Chunk(carry, batch, index, state.step // chunks)
        )
        count = _count_samples(config, batch, index, window)
        nll, gradient, count = all_reduce_sum((nll, gradient, count))
        nll, gradient = jax.tree.map(lambda x: x / jnp.maximum(count, 1.0), (nll, gradient))
        metrics = UpdateMetrics(nll, count, _gradient_norms(gradient))
        return (apply_gradients(config.training, state, gradient), carry), metrics

    (state, carry), metrics = jax.lax.scan(update, (state, carry), None, length=num_steps)
    return state, carry, metrics


def _count_samples(
    config: Config, batch: DeviceBatch, index: Int[Array, ""], window: int
) -> Float[Array, ""]:
    """Return how many samples the update at chunk `index` learns from."""
    size = config.training.chunk_samples
    length = jnp.where(index == 0, window, 1) * size
    position = jnp.arange(batch.mask.shape[1])[None] - index * size
    return jnp.sum((batch.mask & (position >= 0) & (position < length)).astype(jnp.float32))


def clip_nll(
    model: VideoToSound, params: dict[str, Any], batch: DeviceBatch
) -> Float[Array, " batch"]:
    """Return the NLL of each whole clip (nats), with the forward pass of training."""

    def scan_chunk(carry: Carry, index: Array) -> tuple[Carry, Array]:
        nll, carry = _chunk_nll_by_clip(model, params, Chunk(carry, batch, index))
        return carry, nll

    chunks = chunks_per_clip(model.config, batch.levels.shape[1])
    _, nlls = jax.lax.scan(scan_chunk, _initial_carry(model, params, batch), jnp.arange(chunks))
    return jnp.sum(nlls, axis=0)
