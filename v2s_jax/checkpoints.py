"""Parameters and their config in one safetensors file, in half precision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.io import atomic_write, wrap_read_errors
from v2s_jax.model import VideoToSound, init_params
from v2s_jax.pretrained import PRETRAINED, resolve_checkpoint_path

PARAMS_FILE = "params.safetensors"
"""Parameters of a finished run."""
BEST_PARAMS_FILE = "best.safetensors"
"""Parameters with the fewest held-out bits of a run."""

SEPARATOR = "/"


def save_params(path: Path, config: Config, params: dict[str, Any]) -> None:
    """Write parameters (in half precision) and config to one safetensors file."""
    flat = flatten_dict(params["params"], sep=SEPARATOR)
    halves = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    with atomic_write(path) as temporary:
        save_file(halves, temporary, metadata={"config": config.to_json()})


def load_params(path: Path) -> tuple[Config, dict[str, Any]]:
    """Load a model's config, and its float32 parameters under the key "params".

    `path` is a safetensors file, the folder of a run, or the name of a pretrained model. From a run
    the newest checkpoint is read, and its moving average if it has one. Raises InputError when
    `path` does not exist, or is corrupt, or of another version.
    """
    with wrap_read_errors(path):
        path = resolve_checkpoint_path(path)
        if not path.is_dir():
            return load_params_file(path)
        # Imported here: reading a file of parameters does not need Orbax.
        from v2s_jax.run_folder import read_newest_params

        step, config_json, params = read_newest_params(path)
        config = parse_config(step, config_json)
        return config, check_params_match(step, config, params)


def load_params_file(path: Path) -> tuple[Config, dict[str, Any]]:
    """Load config and float32 parameters from a safetensors file; see `load_params`."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such checkpoint: give a .safetensors file, a --workdir, or the name of a "
            f"pretrained model: {', '.join(PRETRAINED)}"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            flat = {name: file.get_tensor(name).astype(np.float32) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a readable checkpoint ({error}): give a .safetensors file that "
            f"v2s train wrote, or its --workdir"
        ) from error
    if "config" not in metadata:
        raise InputError(f"{path}: has no v2s_jax config: give a file that v2s train wrote")
    config, params = parse_config(path, metadata["config"]), unflatten_dict(flat, sep=SEPARATOR)
    return config, check_params_match(path, config, {"params": params})


def parse_config(path: Path, text: str) -> Config:
    """Parse the JSON config that is stored at `path`; errors name the path."""
    try:
        return Config.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_params_match(path: Path, config: Config, params: dict[str, Any]) -> dict[str, Any]:
    """Return `params`; raise InputError unless names and shapes are those of the config's model."""
    expected = jax.eval_shape(lambda: init_params(VideoToSound(config), jax.random.key(0)))
    shapes = {name: leaf.shape for name, leaf in flatten_dict(expected, sep=SEPARATOR).items()}
    actual = {name: leaf.shape for name, leaf in flatten_dict(params, sep=SEPARATOR).items()}
    for name in sorted(shapes.keys() | actual.keys()):
        if shapes.get(name) != actual.get(name):
            raise InputError(
                f"{path}: {name} has shape {actual.get(name)}, the config's model expects "
                f"{shapes.get(name)}: the file is of another version or corrupt"
            )
    return params


def unique_model_name(path: Path, taken: Sequence[str]) -> str:
    """Name a model after its file or folder, and a file that each run writes after the run too.

    A name that is taken gets a number.
    """
    full = path.resolve()
    name = full.name if full.is_dir() else full.stem
    if full.name in (PARAMS_FILE, BEST_PARAMS_FILE):
        name = f"{full.parent.name}-{name}"
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique
