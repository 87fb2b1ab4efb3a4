"""The training state, the optimizer, and one update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from v2s_jax.config import TrainingConfig
from v2s_jax.model import VideoToSound, apply_chrono_init, init_params, with_statistics
from v2s_jax.types import FeatureStatistics

ADAM_B1 = 0.9
ADAM_B2 = 0.999
ADAM_EPSILON = 1e-8
"""Adam's published defaults, as in SampleRNN."""


class TrainState(NamedTuple):
    """What an update changes, besides the carry. Checkpoints have these names."""

    step: Int[Array, ""]
    params: dict[str, Any]
    opt_state: Any
    average: dict[str, Any] | None
    """Exponential moving average of the parameters; None if `ema_decay` is 0."""

    @property
    def eval_params(self) -> dict[str, Any]:
        """The parameters to evaluate and to save: their moving average, if there is one."""
        return self.params if self.average is None else self.average


def make_optimizer(training: TrainingConfig) -> optax.GradientTransformation:
    """Return Adam with elementwise gradient clipping and the config's learning rate."""
    return optax.chain(
        optax.clip(training.gradient_clip),
        optax.adam(learning_rate(training), b1=ADAM_B1, b2=ADAM_B2, eps=ADAM_EPSILON),
    )


def learning_rate(training: TrainingConfig) -> float | optax.Schedule:
    """Return the learning rate: a linear rise, a constant, a cosine decay to 0; or one number.

    The paper's rate is constant.
    """
    peak = training.learning_rate
    decay_steps = training.steps - decay_start(training)
    warmup_steps = min(training.warmup_steps, training.steps - decay_steps)
    if not decay_steps and not warmup_steps:
        return peak
    parts: list[optax.Schedule] = [optax.constant_schedule(peak)]
    boundaries: list[int] = []
    if warmup_steps:
        parts.insert(0, optax.linear_schedule(0.0, peak, warmup_steps))
        boundaries.append(warmup_steps)
    if decay_steps:
        parts.append(optax.cosine_decay_schedule(peak, decay_steps))
        boundaries.append(decay_start(training))
    return optax.join_schedules(parts, boundaries)


def decay_start(training: TrainingConfig) -> int:
    """Return the step at which the learning rate starts to fall; `steps` if it never does."""
    return training.steps - min(training.decay_steps, training.steps)


def init_state(model: VideoToSound, statistics: FeatureStatistics | None) -> TrainState:
    """Return the state before the first update, which depends only on the config and the data.

    `statistics` may be None if the model does not standardise features.
    """
    training = model.config.training
    params = init_params(model, jax.random.key(training.seed))
    params = with_statistics(params, model.config.model, statistics)
    params = apply_chrono_init(params, model.config.model, training.chrono_init_max_ticks)
    opt_state = make_optimizer(training).init(params)
    return TrainState(jnp.int32(0), params, opt_state, params if training.ema_decay else None)


def _scale_context(updates: dict[str, Any], scale: float) -> dict[str, Any]:
    """Return the updates with those of all parts before the tiers times `scale`.

    A mask of the optimizer would give its state, and so checkpoints, another structure.
    """

    def scale_part(name: str, part: Any) -> Any:
        return part if name == "sample_rnn" else jax.tree.map(lambda x: scale * x, part)

    return {"params": {name: scale_part(name, part) for name, part in updates["params"].items()}}


def apply_gradients(
    training: TrainingConfig, state: TrainState, gradient: dict[str, Any]
) -> TrainState:
    """Return the state after one update."""
    updates, opt_state = make_optimizer(training).update(gradient, state.opt_state, state.params)
    if training.context_rate_scale != 1:
        updates = _scale_context(updates, training.context_rate_scale)
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if average is not None:
        average = optax.incremental_update(params, average, step_size=1 - training.ema_decay)
    return TrainState(state.step + 1, params, opt_state, average)
