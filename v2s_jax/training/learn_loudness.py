"""Teach the context encoder of `aligned` the loudness of the sound before the tiers learn.

The tiers need many updates for each clip, the encoder needs many clips: alone, it reads a batch of
whole clips with each update, in a tenth of the time that one of the whole model takes.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import trange

from v2s_jax.errors import InputError
from v2s_jax.model import VideoToSound
from v2s_jax.training.state import TrainState
from v2s_jax.training.step import DeviceBatch, clip_loudness_loss
from v2s_jax.types import Batch


def learn_loudness(
    model: VideoToSound,
    state: TrainState,
    batches: Iterator[Batch],
    is_stopped: Callable[[], bool] = lambda: False,
) -> tuple[TrainState, float]:
    """Return a state before the first update whose context vectors predict the loudness.

    Makes `loudness_steps` updates by Adam, whose rate falls to 0 along a cosine, on one device;
    the parameters of the tiers stay.

    Args:
        model: The model.
        state: Its state before the first update.
        batches: At least `loudness_steps` batches.
        is_stopped: Says after each update whether the system wants the run to end.

    Returns:
        The new state, and the mean squared error over the last tenth of the updates, in squared
        units of `v2s_jax.model.loudness`.

    Raises:
        InputError: The loss is not finite, or the run is stopped: nothing of this is saved.
    """
    training = model.config.training
    rate = optax.cosine_decay_schedule(training.learning_rate, training.loudness_steps)
    optimizer = optax.adam(rate)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: dict, opt_state: optax.OptState, batch: DeviceBatch) -> tuple:
        def loss(params: dict) -> jax.Array:
            total = clip_loudness_loss(model, params, batch) / training.loudness_weight
            return total / jnp.maximum(jnp.sum(batch.mask), 1)

        value, gradient = jax.value_and_grad(loss)(params)
        changes, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, changes), opt_state, value

    params = jax.tree.map(jnp.array, state.params)
    opt_state = optimizer.init(params)
    losses = []
    for _ in trange(training.loudness_steps, desc="loudness", unit="step", dynamic_ncols=True):
        batch = next(batches)
        arrays = DeviceBatch(*map(jnp.asarray, (batch.levels, batch.features, batch.mask)))
        params, opt_state, loss = update(params, opt_state, arrays)
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            raise InputError(
                f"the loss of loudness is {losses[-1]} after {len(losses)} updates: use a lower "
                "--training.learning-rate"
            )
        if is_stopped():
            raise InputError(
                f"stopped after {len(losses)} of {training.loudness_steps} updates of the context "
                "encoder, before the first checkpoint: run the same command again"
            )
    average = None if state.average is None else params
    last = losses[-max(1, len(losses) // 10) :]
    return state._replace(params=params, average=average), float(np.mean(last))
