"""The parameters that a run begins with: drawn, or those of another run as far as they fit."""

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
"""Parameters by name, by the layer that they are of."""


def warm_start(path: Path, config: Config, state: TrainState) -> tuple[TrainState, str]:
    """Return a state before the first update with the parameters of a file, a run, or a model.

    `path` is what `load_params` reads. A layer is taken as a whole, if all its parameters are there
    and of the same shapes; the others stay as `state` has them. The optimiser begins anew. Returned
    beside it is what was taken, in words. What reads the features is not taken from a model of
    others: of another extractor, or of other weights.

    Raises InputError when nothing that is learned fits, when levels stand for other amplitudes, or
    when nothing can be read.
    """
    other, found = load_params(path)
    levels, its_levels = config.model.quantization, other.model.quantization
    if levels != its_levels:
        raise InputError(
            f"{path}: its levels are {its_levels}, this run's {levels}: add "
            f"--model.quantization {its_levels}, or begin from another"
        )
    drawn, given = _layers(state.params), _layers(found)
    same_features = _of_the_same_features(other, config)
    if not same_features:
        given = {name: layer for name, layer in given.items() if not _reads_features(config, name)}
    taken = {name for name, layer in drawn.items() if _shapes(layer) == _shapes(given.get(name))}
    if taken <= {CONDITIONING}:  # its statistics are not learned
        features = "" if same_features else f", nor its features ({other.extractor})"
        raise InputError(
            f"{path}: no layer that is learned has the sizes of this model's{features}: give the "
            "run the --model.* words of that one, or begin from another"
        )
    params = _tree({name: given[name] if name in taken else drawn[name] for name in drawn})
    average = state.average
    beginning = state._replace(params=params, average=average if average is None else params)
    rest = sorted(drawn.keys() - taken)
    words = f"{len(taken)} of {len(drawn)} layers from {path}"
    return beginning, words + (f"; drawn: {', '.join(rest)}" if rest else "")


def _of_the_same_features(one: Config, other: Config) -> bool:
    motion = "flow" in (one.model.variant, other.model.variant)
    return one.extractor == other.extractor and not one.extraction.diff(
        other.extraction, motion=motion
    )


def _reads_features(config: Config, layer: str) -> bool:
    """Say whether a layer's input is features as they were extracted, or their statistics."""
    model = config.model
    if layer.split(SEPARATOR)[0] == CONDITIONING:
        return True
    if model.visual_proj_dim is not None or model.variant == "unconditional":
        return False
    place = ENCODER if model.encodes_video else BIG_FRAME_TIER
    return layer == SEPARATOR.join((*place, model.cell))  # of stacked ones the first


def _layers(params: dict[str, Any]) -> Layers:
    layers: Layers = {}
    for name, leaf in flatten_dict(params["params"], sep=SEPARATOR).items():
        layer, _, parameter = name.rpartition(SEPARATOR)
        layers.setdefault(layer, {})[parameter] = leaf
    return layers


def _tree(layers: Layers) -> dict[str, Any]:
    flat = {
        f"{layer}{SEPARATOR}{name}": jnp.asarray(leaf, jnp.float32)
        for layer, of_layer in layers.items()
        for name, leaf in of_layer.items()
    }
    return {"params": unflatten_dict(flat, sep=SEPARATOR)}


def _shapes(layer: dict[str, Any] | None) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in (layer or {}).items()}
