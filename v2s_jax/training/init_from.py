"""Warm start: initial parameters from another run, as far as its layers fit."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from v2s_jax.checkpoints import SEPARATOR, load_params
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.model.chrono_init import BIG_FRAME_TIER, ENCODER
from v2s_jax.model.conditioning import CONDITIONING
from v2s_jax.training.state import TrainState

Layers = dict[str, dict[str, Any]]
"""Parameters by layer and name."""


def warm_start(path: Path, config: Config, state: TrainState) -> tuple[TrainState, str]:
    """Return a state before the first update with the parameters at `path`, and a summary.

    `path` is anything that `load_params` reads. A layer is copied if all its parameters exist there
    with the same shapes; `state` keeps the others. The optimizer state stays new. Layers that read
    features are not copied from a model with another extractor or other extractor weights.

    Raises InputError when no learned layer fits, when the quantization differs, or when `path`
    cannot be read.
    """
    source_config, source_params = load_params(path)
    quantization, source_quantization = (
        config.model.quantization,
        source_config.model.quantization,
    )
    if quantization != source_quantization:
        raise InputError(
            f"{path}: its quantization is {source_quantization}, not {quantization}: add "
            f"--model.quantization {source_quantization}, or use another --training.init-from"
        )
    layers, source = _by_layer(state.params), _by_layer(source_params)
    same_features = _has_same_features(source_config, config)
    if not same_features:
        source = {
            name: layer for name, layer in source.items() if not _reads_features(config, name)
        }
    copied = {name for name, layer in layers.items() if _shapes(layer) == _shapes(source.get(name))}
    if copied <= {CONDITIONING}:  # its statistics are not learned
        features = "" if same_features else f", and its features differ ({source_config.extractor})"
        raise InputError(
            f"{path}: no learned layer has the sizes of this model{features}: use the --model.* "
            "options of that run, or another --training.init-from"
        )
    params = _to_tree({name: source[name] if name in copied else layers[name] for name in layers})
    ema_params = None if state.ema_params is None else params
    message = f"{len(copied)} of {len(layers)} layers from {path}"
    rest = sorted(layers.keys() - copied)
    if rest:
        message += f"; random: {', '.join(rest)}"
    return state._replace(params=params, ema_params=ema_params), message


def _has_same_features(one: Config, other: Config) -> bool:
    motion = one.model.reads_motion or other.model.reads_motion
    return one.extractor == other.extractor and not one.extraction.diff(
        other.extraction, motion=motion
    )


def _reads_features(config: Config, layer: str) -> bool:
    """Whether the input of a layer is extracted features, or their statistics."""
    model = config.model
    if layer.split(SEPARATOR)[0] == CONDITIONING:
        return True
    if model.visual_proj_dim is not None or model.variant == "unconditional":
        return False
    tier = ENCODER if model.encodes_video else BIG_FRAME_TIER
    return layer == SEPARATOR.join((*tier, model.cell))  # the first one of a stack


def _by_layer(params: dict[str, Any]) -> Layers:
    layers: Layers = {}
    for path, leaf in flatten_dict(params["params"], sep=SEPARATOR).items():
        layer, _, name = path.rpartition(SEPARATOR)
        layers.setdefault(layer, {})[name] = leaf
    return layers


def _to_tree(layers: Layers) -> dict[str, Any]:
    flat = {
        f"{layer}{SEPARATOR}{name}": jnp.asarray(leaf, jnp.float32)
        for layer, leaves in layers.items()
        for name, leaf in leaves.items()
    }
    return {"params": unflatten_dict(flat, sep=SEPARATOR)}


def _shapes(layer: dict[str, Any] | None) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in (layer or {}).items()}
