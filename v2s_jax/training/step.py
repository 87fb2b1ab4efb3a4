"""The training step: truncated back-propagation through time over the chunks of a batch of clips.

A batch of whole clips lies on the device; each update reads the next chunk of it, starts from the
carry that the last chunk left (values only, no gradient) and moves the parameters once. Several
updates run inside one call. The functions are pure and know nothing of devices: `total` adds a
pytree up over all of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from v2s_jax.config import Config, TrainingConfig
from v2s_jax.errors import InputError
from v2s_jax.model import Carry, VideoToSound, forward, init_params, initial_carry, with_statistics
from v2s_jax.training.loss import masked_nll
from v2s_jax.types import AppearanceStatistics

ADAM_B1 = 0.9
ADAM_B2 = 0.999
ADAM_EPSILON = 1e-8
"""Adam's published defaults, which SampleRNN uses."""

Total = Callable[[Any], Any]
"""Add every leaf of a pytree up over all devices."""


class TrainState(NamedTuple):
    """What an update changes and a checkpoint keeps, besides the carry."""

    step: Int[Array, ""]
    params: dict[str, Any]
    opt_state: Any


class DeviceBatch(NamedTuple):
    """Whole clips as the step reads them: `Batch` without what only the host needs."""

    levels: UInt8[Array, "batch samples"]
    appearance: Float[Array, "batch video_frames appearance_dim"]
    mask: Bool[Array, "batch samples"]


class UpdateMetrics(NamedTuple):
    """What one update tells; the step adds a leading axis, one entry per update of a call."""

    nll: Float[Array, "..."]
    """Nats per sample."""
    samples: Float[Array, "..."]
    """How many samples that is the mean of: those that were not padding."""
    gradient_norm: Float[Array, "..."]
    """Euclidean norm over all parameters, before clipping."""


def make_optimizer(training: TrainingConfig) -> optax.GradientTransformation:
    """Return Adam with elementwise clipping; the rate is constant, then falls to 0 at the end."""
    rate: float | optax.Schedule = training.learning_rate
    decay_steps = min(training.decay_steps, training.steps)
    if decay_steps:
        rate = optax.join_schedules(
            [
                optax.constant_schedule(training.learning_rate),
                optax.cosine_decay_schedule(training.learning_rate, decay_steps),
            ],
            [training.steps - decay_steps],
        )
    return optax.chain(
        optax.clip(training.gradient_clip),
        optax.adam(rate, b1=ADAM_B1, b2=ADAM_B2, eps=ADAM_EPSILON),
    )


def init_state(model: VideoToSound, statistics: AppearanceStatistics) -> TrainState:
    """Return the state before the first update, a function of the config's seed and the data."""
    config = model.config
    params = init_params(model, jax.random.key(config.training.seed))
    if config.model.variant == "frame" and config.model.standardize_appearance:
        params = with_statistics(params, statistics)
    opt_state = make_optimizer(config.training).init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state)


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
    """Return how many updates one call makes: the largest number up to `updates_per_call` that
    divides the chunks of a clip."""
    chunks = chunks_per_clip(config, samples)
    most = min(config.training.updates_per_call, chunks)
    return max(n for n in range(1, most + 1) if chunks % n == 0)


def _chunk(config: Config, batch: DeviceBatch, chunk: Int[Array, ""]) -> DeviceBatch:
    """Slice one chunk, and the video frames it lies in, out of whole clips."""
    size, per_frame = config.training.chunk_samples, config.clock.samples_per_video_frame
    start = chunk * size

    def cut(x: Array, first: Array, length: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, first, length, axis=1)

    return DeviceBatch(
        cut(batch.levels, start, size),
        cut(batch.appearance, start // per_frame, max(1, size // per_frame)),
        cut(batch.mask, start, size),
    )


def train_step(
    model: VideoToSound,
    updates: int,
    state: TrainState,
    carry: Carry,
    batch: DeviceBatch,
    *,
    total: Total,
) -> tuple[TrainState, Carry, UpdateMetrics]:
    """Make `updates` updates, one for each of the next chunks of `batch`.

    Which chunk is next follows from `state.step`; the first chunk of a clip starts from the
    model's initial carry, so that it is learned.
    """
    config = model.config
    optimizer = make_optimizer(config.training)
    rows, samples = batch.levels.shape
    chunks = chunks_per_clip(config, samples)

    def update(
        loop: tuple[TrainState, Carry], _: None
    ) -> tuple[tuple[TrainState, Carry], UpdateMetrics]:
        state, carry = loop
        index = state.step % chunks
        chunk = _chunk(config, batch, index)
        levels = chunk.levels.astype(jnp.int32)
        count = total(jnp.sum(chunk.mask.astype(jnp.float32)))

        def loss(params: dict[str, Any]) -> tuple[Array, Carry]:
            first = initial_carry(model, params, rows)
            start = jax.tree.map(lambda h0, h: jnp.where(index == 0, h0, h), first, carry)
            after, logits = forward(model, params, start, levels, chunk.appearance)
            nll = masked_nll(logits, levels, chunk.mask)
            return nll / jnp.maximum(count, 1.0), after

        (nll, carry), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        nll, gradient = total((nll, gradient))
        change, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, change)
        metrics = UpdateMetrics(nll, count, optax.tree.norm(gradient))
        return (TrainState(state.step + 1, params, opt_state), carry), metrics

    (state, carry), metrics = jax.lax.scan(update, (state, carry), None, length=updates)
    return state, carry, metrics
