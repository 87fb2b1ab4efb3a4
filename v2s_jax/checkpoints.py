"""Parameters alone, with their config: one safetensors file in half precision."""

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
"""Of a finished run."""
BEST_PARAMS_FILE = "best.safetensors"
"""Of a run's best evaluation."""

SEPARATOR = "/"


def save_params(path: Path, config: Config, params: dict[str, Any]) -> None:
    """Write parameters and config to one safetensors file, parameters in half precision."""
    flat = flatten_dict(params["params"], sep=SEPARATOR)
    halves = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    with atomic_write(path) as temporary:
        save_file(halves, temporary, metadata={"config": config.to_json()})


def load_params(path: Path) -> tuple[Config, dict[str, Any]]:
    """Return config and float32 parameters from a safetensors file, a run's folder, or by name.

    The names are those of the pretrained models. Of a run's folder the newest checkpoint is read,
    and of a run with an exponential moving average, the averaged parameters. Raises InputError when
    nothing is there, or it is corrupt, or of another version.
    """
    with wrap_read_errors(path):
        path = resolve_checkpoint_path(path)
        if not path.is_dir():
            return load_params_file(path)
        # Imported here: a file of parameters is read without Orbax.
        from v2s_jax.run_folder import read_newest_params

        step, config_json, params = read_newest_params(path)
        config = parse_config(step, config_json)
        return config, check_params_match(step, config, params)


def load_params_file(path: Path) -> tuple[Config, dict[str, Any]]:
    """Return config and float32 parameters.

    Raises InputError when nothing is there, or it is damaged, or of another version.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such checkpoint: give a .safetensors file, a --workdir, or one that "
            f"ships: {', '.join(PRETRAINED)}"
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
        raise InputError(f"{path}: holds no v2s_jax config: give a file that v2s train wrote")
    config, params = parse_config(path, metadata["config"]), unflatten_dict(flat, sep=SEPARATOR)
    return config, check_params_match(path, config, {"params": params})


def parse_config(path: Path, text: str) -> Config:
    """Return the config that lies at `path` as JSON; its errors name the place."""
    try:
        return Config.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_params_match(path: Path, config: Config, params: dict[str, Any]) -> dict[str, Any]:
    """Return `params` if they are those of the config's model, by name and shape.

    Raises InputError otherwise.
    """
    wanted = jax.eval_shape(lambda: init_params(VideoToSound(config), jax.random.key(0)))
    shapes = {name: leaf.shape for name, leaf in flatten_dict(wanted, sep=SEPARATOR).items()}
    found = {name: leaf.shape for name, leaf in flatten_dict(params, sep=SEPARATOR).items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            raise InputError(
                f"{path}: {name} has shape {found.get(name)}, the config's model wants "
                f"{shapes.get(name)}: the file is of another version or damaged"
            )
    return params
