"""The training step: truncated back-propagation through time over the chunks of a batch of clips.

A batch of whole clips lies on the device; each update reads the next chunk of it, starts from the
carry that the last chunk left (values only, no gradient) and moves the parameters once. Several
updates run inside one call. The functions are pure and know nothing of devices: `total` adds a
pytree up over all of them.

Read plainly, the encoder of Seq and Flow hears of a clip's first chunk only: the gradient of every
later one stops at the carry. With a `first_window` of k > 1 chunks a clip's first update looks on:
it back-propagates from the clip's start, encoder included, through k chunks, whose activations are
computed again on the way back (memory grows by one carry per chunk). The other updates are as
before, so their number stays.
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
from v2s_jax.model import HIDDEN_ACTIVATION, Carry, VideoToSound, encode, forward, initial_carry
from v2s_jax.model.loss import masked_nll
from v2s_jax.training.state import TrainState, apply_gradients

ALL = "all"
"""Name of the whole among the parts of a gradient."""

AllReduceSum = Callable[[Any], Any]
"""Add every leaf of a pytree up over all devices."""


class DeviceBatch(NamedTuple):
    """Whole clips as the step reads them: `Batch` without what only the host needs."""

    levels: UInt8[Array, "batch samples"]
    features: Float[Array, "batch video_frames feature_dim"]
    mask: Bool[Array, "batch samples"]


class UpdateMetrics(NamedTuple):
    """What one update tells; the step adds a leading axis, one entry per update of a call."""

    nll: Float[Array, "..."]
    """Nats per sample."""
    samples: Float[Array, "..."]
    """How many samples that is the mean of: those that were not padding."""
    gradient_norm: dict[str, Float[Array, "..."]]
    """Euclidean norm over the parameters of each part, and of all (ALL), before clipping."""


def chunks_per_clip(config: Config, samples: int) -> int:
    """Return the number of updates that one batch of clips of `samples` gives.

    Raises InputError when chunks do not fill the clips.
    """
    chunk = config.training.chunk_samples
    if samples % chunk:
        raise InputError(
            f"chunk_samples {chunk} does not divide the data's {samples} samples per clip: "
            f"use {config.clock.samples_per_video_frame}"
        )
    return samples // chunk


def updates_in_call(config: Config, samples: int) -> int:
    """Return how many updates one call makes: the largest number up to `steps_per_call` that
    divides the chunks of a clip."""
    chunks = chunks_per_clip(config, samples)
    most = min(config.training.steps_per_call, chunks)
    return max(n for n in range(1, most + 1) if chunks % n == 0)


def first_window(config: Config, chunks: int) -> int:
    """Return through how many of a clip's chunks its first update back-propagates.

    Without an encoder there is nothing further back to be reached.
    """
    if not config.model.encodes_video:
        return 1
    return min(config.training.encoder_bptt_chunks or chunks, chunks)


def _chunk(config: Config, batch: DeviceBatch, chunk: Int[Array, ""]) -> DeviceBatch:
    """Slice one chunk, and the video frames it lies in, out of whole clips."""
    size, per_frame = config.training.chunk_samples, config.clock.samples_per_video_frame
    start = chunk * size

    def cut(x: Array, first: Array, length: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, first, length, axis=1)

    return DeviceBatch(
        cut(batch.levels, start, size),
        cut(batch.features, start // per_frame, max(1, size // per_frame)),
        cut(batch.mask, start, size),
    )


def _start(model: VideoToSound, params: dict[str, Any], batch: DeviceBatch) -> Carry:
    """Return the carry before the clips' first samples, their videos encoded."""
    carry = initial_carry(model, params, len(batch.levels))
    # A video frame is a clip's own when its first sample is.
    seen = batch.mask[:, :: model.config.clock.samples_per_video_frame]
    return encode(model, params, carry, batch.features, seen)


def _chunk_nll_by_clip(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    batch: DeviceBatch,
    index: Int[Array, ""],
) -> tuple[Float[Array, " batch"], Carry]:
    """Return each clip's nats in one chunk, and the carry after it."""
    chunk = _chunk(model.config, batch, index)
    levels = chunk.levels.astype(jnp.int32)
    carry, logits = forward(model, params, carry, levels, chunk.features)
    return masked_nll(logits, levels, chunk.mask), carry


def _chunk_nll(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    batch: DeviceBatch,
    index: Int[Array, ""],
) -> tuple[Float[Array, ""], Carry]:
    """Return the sum of one chunk's nats, and the carry after it, to be differentiated."""

    def nll(params: dict[str, Any], carry: Carry) -> tuple[Array, Carry]:
        by_clip, carry = _chunk_nll_by_clip(model, params, carry, batch, index)
        return jnp.sum(by_clip), carry

    if model.config.training.remat:
        keep = jax.checkpoint_policies.save_only_these_names(HIDDEN_ACTIVATION)
        return jax.checkpoint(nll, policy=keep)(params, carry)
    return nll(params, carry)


def _window_nll(
    model: VideoToSound, params: dict[str, Any], batch: DeviceBatch, chunks: int
) -> tuple[Float[Array, ""], Carry]:
    """Return the sum of nats over the clips' first chunks, and the carry after the first one."""

    @partial(jax.checkpoint, prevent_cse=False)  # a scan keeps the recomputation by itself
    def chunk(carry: Carry, index: Array) -> tuple[Carry, tuple[Array, Carry]]:
        nll, carry = _chunk_nll(model, params, carry, batch, index)
        return carry, (nll, carry)

    start = _start(model, params, batch)
    _, (nlls, carries) = jax.lax.scan(chunk, start, jnp.arange(chunks))
    return jnp.sum(nlls), jax.tree.map(lambda by_chunk: by_chunk[0], carries)


def _gradient_norms(gradient: dict[str, Any]) -> dict[str, Float[Array, ""]]:
    parts = dict(gradient["params"])
    parts |= parts.pop("sample_rnn")
    return {ALL: optax.tree.norm(gradient)} | {
        part: optax.tree.norm(of_part) for part, of_part in parts.items()
    }


def _gradient(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    batch: DeviceBatch,
    index: Int[Array, ""],
) -> tuple[tuple[Float[Array, ""], Carry], dict[str, Any]]:
    """Return ((sum of nats, next carry), gradient) of the update at chunk `index`."""
    chunks = chunks_per_clip(model.config, batch.levels.shape[1])
    window = first_window(model.config, chunks)

    def window_loss(params: dict[str, Any]) -> tuple[Array, Carry]:
        return _window_nll(model, params, batch, window)

    def chunk_loss(params: dict[str, Any]) -> tuple[Array, Carry]:
        return _chunk_nll(model, params, carry, batch, index)

    def loss_at_any_chunk(params: dict[str, Any]) -> tuple[Array, Carry]:
        start = jax.lax.cond(index == 0, lambda: _start(model, params, batch), lambda: carry)
        return _chunk_nll(model, params, start, batch, index)

    def differentiate(nll: Callable[..., Any]) -> Callable[..., Any]:
        return jax.value_and_grad(nll, has_aux=True)

    if window == 1:
        return differentiate(loss_at_any_chunk)(params)
    return jax.lax.cond(index == 0, differentiate(window_loss), differentiate(chunk_loss), params)


def _gradient_of_parts(
    model: VideoToSound,
    params: dict[str, Any],
    carry: Carry,
    batch: DeviceBatch,
    index: Int[Array, ""],
) -> tuple[tuple[Float[Array, ""], Carry], dict[str, Any]]:
    """Return what `_gradient` does, from one micro-batch after the other."""
    parts = model.config.training.grad_accum_steps
    if parts == 1:
        return _gradient(model, params, carry, batch, index)
    by_part = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (carry, batch))

    def add_part(sums: Any, part: tuple[Carry, DeviceBatch]) -> tuple[Any, Carry]:
        (nll, carry), gradient = _gradient(model, params, *part, index)
        return jax.tree.map(jnp.add, sums, (nll, gradient)), carry

    nothing = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    (nll, gradient), carries = jax.lax.scan(add_part, nothing, by_part)
    return (nll, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carries)), gradient


def train_step(
    model: VideoToSound,
    updates: int,
    state: TrainState,
    carry: Carry,
    batch: DeviceBatch,
    *,
    total: AllReduceSum,
) -> tuple[TrainState, Carry, UpdateMetrics]:
    """Make `updates` updates, one for each of the next chunks of `batch`.

    Which chunk is next follows from `state.step`; the first chunk of a clip starts from the
    model's initial carry and the encoded video, so that both are learned.
    """
    config = model.config
    chunks = chunks_per_clip(config, batch.levels.shape[1])
    window = first_window(config, chunks)

    def update(
        loop: tuple[TrainState, Carry], _: None
    ) -> tuple[tuple[TrainState, Carry], UpdateMetrics]:
        state, carry = loop
        index = state.step % chunks
        (nll, carry), gradient = _gradient_of_parts(model, state.params, carry, batch, index)
        count = _samples(config, batch, index, window)
        nll, gradient, count = total((nll, gradient, count))
        nll, gradient = jax.tree.map(lambda x: x / jnp.maximum(count, 1.0), (nll, gradient))
        metrics = UpdateMetrics(nll, count, _gradient_norms(gradient))
        return (apply_gradients(config.training, state, gradient), carry), metrics

    (state, carry), metrics = jax.lax.scan(update, (state, carry), None, length=updates)
    return state, carry, metrics


def _samples(
    config: Config, batch: DeviceBatch, index: Int[Array, ""], window: int
) -> Float[Array, ""]:
    """Return how many samples the update at chunk `index` learns from."""
    size = config.training.chunk_samples
    ahead = jnp.where(index == 0, window, 1) * size
    place = jnp.arange(batch.mask.shape[1]) - index * size
    return jnp.sum((batch.mask & (place >= 0) & (place < ahead)).astype(jnp.float32))


def clip_nll(
    model: VideoToSound, params: dict[str, Any], batch: DeviceBatch
) -> Float[Array, " batch"]:
    """Return the nats of each whole clip, with the forward pass of training."""

    def chunk(carry: Carry, index: Array) -> tuple[Carry, Array]:
        nll, carry = _chunk_nll_by_clip(model, params, carry, batch, index)
        return carry, nll

    chunks = chunks_per_clip(model.config, batch.levels.shape[1])
    _, nlls = jax.lax.scan(chunk, _start(model, params, batch), jnp.arange(chunks))
    return jnp.sum(nlls, axis=0)
