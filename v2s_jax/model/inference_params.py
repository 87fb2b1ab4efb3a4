"""The parameters as generation reads them: everything that can be computed once, computed once."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from v2s_jax.config import Config
from v2s_jax.model.linear import fold_weight_norm
from v2s_jax.model.video_to_sound import VideoToSound


def without_weight_norm(config: Config) -> Config:
    """Return the config of the model whose weight norm is folded away."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weight_norm=False))


class InferenceParams(NamedTuple):
    """Parameters as generation reads them, computed once per checkpoint."""

    params: dict[str, Any]
    tables: Float[Array, "frame_size q_levels mlp_dim"]
    frame_kernel: Float[Array, "frame_size gates"] | None
    """None with two tiers."""


def prepare_for_inference(model: VideoToSound, params: dict[str, Any]) -> InferenceParams:
    """Fold weight norm, embedding x first layer, and frame expansion x gate input."""
    plain = {"params": fold_weight_norm(params["params"])}

    def constants(model: VideoToSound) -> tuple[Array, Array | None]:
        return model.sample_rnn.tables(), model.sample_rnn.frame_kernel()

    apply: Callable[..., Any] = model.apply
    return InferenceParams(plain, *apply(plain, method=constants))
