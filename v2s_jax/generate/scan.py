"""The tiers run one tick at a time: a big frame, the frames in it, the samples in those.

They are the tiers of training, with weight norm folded away and embedding x first layer folded to
tables. What is chosen at each sample is the caller's: noise decides when generating, the true
sound when the same program is held against teacher forcing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from v2s_jax.config import Config
from v2s_jax.model import Carry, VideoToSound, fold_weight_norm

Pick = Callable[[Array, Array], tuple[Array, Array]]
"""Choose the next level: (logits [batch q_levels], given [batch]) -> (level, kept)."""


def without_weight_norm(config: Config) -> Config:
    """Return the config of the model whose weight norm is folded away."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weight_norm=False))


class Folded(NamedTuple):
    """Parameters as generation reads them, computed once per checkpoint."""

    params: dict[str, Any]
    tables: Float[Array, "frame_size q_levels mlp_dim"]
    frame_kernel: Float[Array, "frame_size gates"] | None
    """None with two tiers."""


def fold(model: VideoToSound, params: dict[str, Any]) -> Folded:
    """Fold weight norm, embedding x first layer, and frame expansion x gate input."""
    plain = {"params": fold_weight_norm(params["params"])}

    def constants(model: VideoToSound) -> tuple[Array, Array | None]:
        return model.sample_rnn.tables(), model.sample_rnn.frame_kernel()

    apply: Callable[..., Any] = model.apply
    return Folded(plain, *apply(plain, method=constants))


def run_big_frame(
    model: VideoToSound,
    folded: Folded,
    carry: Carry,
    vision_gates: Float[Array, "batch gates"] | None,
    given: Float[Array, "batch big_frame_size"] | Int[Array, "batch big_frame_size"],
    pick: Pick,
) -> tuple[Carry, Array]:
    """Run the tiers over the samples of one big frame, choosing each level with `pick`.

    `given` holds what `pick` gets for each sample: noise when generating, the true levels when
    scoring. Returns the carry and what `pick` kept, [big_frame_size batch ...].
    """
    c = model.config.model

    def apply(method: Callable[..., Any], *args: Any) -> Any:
        return model.apply(folded.params, *args, method=method)

    def sample(window: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        conditioning, given_now = inputs
        logits = apply(
            lambda m, *a: m.sample_rnn.sample_logits(*a), folded.tables, window, conditioning
        )
        level, kept = pick(logits, given_now)
        return jnp.concatenate([window[:, 1:], level[:, None]], axis=1), kept

    def samples(window: Array, conditioning: Array, given_frame: Array) -> tuple[Array, Array]:
        return jax.lax.scan(sample, window, (jnp.swapaxes(conditioning, 0, 1), given_frame))

    def frame(state: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[Any, Any]:
        h, window = state
        gates, given_frame = inputs
        h, conditioning = apply(
            lambda m, *a: m.sample_rnn.begin_frame(*a), h, window, gates, folded.frame_kernel
        )
        window, kept = samples(window, conditioning, given_frame)
        return (h, window), (window, kept)

    big_frame, conditioning = apply(
        lambda m, *a: m.sample_rnn.begin_big_frame(*a), carry.big_frame, carry.levels, vision_gates
    )
    if carry.frame is None:
        lookback, kept = samples(carry.levels, conditioning, given.T)
        return Carry(big_frame, None, lookback), kept
    given_by_frame = given.T.reshape(c.ratio, c.frame_size, -1)
    (h, _), (windows, kept) = jax.lax.scan(
        frame,
        (carry.frame, carry.levels[:, -c.frame_size :]),
        (jnp.swapaxes(conditioning, 0, 1), given_by_frame),
    )
    lookback = jnp.swapaxes(windows, 0, 1).reshape(carry.levels.shape)
    return Carry(big_frame, h, lookback), kept.reshape(c.big_frame_size, *kept.shape[2:])


def run_tiers(
    model: VideoToSound,
    folded: Folded,
    carry: Carry,
    vision_gates: Float[Array, "batch gates"] | None,
    given: Float[Array, "batch samples"] | Int[Array, "batch samples"],
    pick: Pick,
) -> tuple[Carry, Array]:
    """Run the tiers over whole big frames that lie in one video frame.

    Returns the carry and what `pick` kept, [batch samples ...].
    """
    batch, samples = given.shape
    by_big_frame = given.reshape(batch, -1, model.config.model.big_frame_size)

    def tick(carry: Carry, given_now: Array) -> tuple[Carry, Array]:
        return run_big_frame(model, folded, carry, vision_gates, given_now, pick)

    carry, kept = jax.lax.scan(tick, carry, jnp.swapaxes(by_big_frame, 0, 1))
    return carry, jnp.swapaxes(kept.reshape(samples, *kept.shape[2:]), 0, 1)
