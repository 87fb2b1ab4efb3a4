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
from v2s_jax.model.context import CONTEXT, CONTEXT_INPUT
from v2s_jax.training.state import TrainState


def warm_start(path: Path, config: Config, state: TrainState) -> tuple[TrainState, str]:
    """Return a state before the first update with the parameters at `path`, and a summary.

    `path` is anything that `load_params` reads. A layer is copied if all its parameters exist there
    with the same shapes; `state` keeps the others. The optimizer state stays new. Layers that read
    features are not copied from a model with another extractor or other extractor weights.

    Raises InputError when no learned layer fits, when the quantization differs, or when `path`
    cannot be read.
    """
    source_config, source_params = load_params(path)
    quantization = source_config.model.quantization
    if quantization != config.model.quantization:
        raise InputError(
            f"{path}: its quantization is {quantization}, not {config.model.quantization}: add "
            f"--model.quantization {quantization}, or use another --training.init-from"
        )
    own, source = (
        flatten_dict(tree["params"], sep=SEPARATOR) for tree in (state.params, source_params)
    )
    layers, source_layers = _shapes_by_layer(own), _shapes_by_layer(source)
    same_features = _has_same_features(source_config, config)
    copied = {
        layer
        for layer, shapes in layers.items()
        if shapes == source_layers.get(layer)
        and (same_features or not _reads_features(config, layer))
    }
    if copied <= {CONDITIONING}:  # its statistics are not learned
        features = "" if same_features else f", and its features differ ({source_config.extractor})"
        raise InputError(
            f"{path}: no learned layer has the sizes of this model{features}: use the --model.* "
            "options of that run, or another --training.init-from"
        )
    flat = {
        name: jnp.asarray(source[name], jnp.float32) if _layer(name) in copied else leaf
        for name, leaf in own.items()
    }
    params = {"params": unflatten_dict(flat, sep=SEPARATOR)}
    average = None if state.average is None else params
    message = f"{len(copied)} of {len(layers)} layers from {path}"
    rest = sorted(layers.keys() - copied)
    if rest:
        message += f"; random: {', '.join(rest)}"
    return state._replace(params=params, average=average), message


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
    if model.variant == "aligned":
        return layer == SEPARATOR.join((CONTEXT, CONTEXT_INPUT))
    tier = ENCODER if model.encodes_video else BIG_FRAME_TIER
    return layer == SEPARATOR.join((*tier, model.cell))  # the first one of a stack


def _layer(name: str) -> str:
    return name.rpartition(SEPARATOR)[0]


def _shapes_by_layer(flat: dict[str, Any]) -> dict[str, dict[str, tuple[int, ...]]]:
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, leaf in flat.items():
        layers.setdefault(_layer(name), {})[name] = leaf.shape
    return layers
