"""Parameters and their config in one safetensors file, in half precision."""

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from v2s_jax.bucket import Bucket, named_as, url_of, wrap_bucket_errors
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

logger = logging.getLogger(__name__)


def save_params(path: Path, config: Config, params: dict[str, Any]) -> None:
    """Write parameters (in half precision) and config to one safetensors file."""
    flat = flatten_dict(params["params"], sep=SEPARATOR)
    halves = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    with atomic_write(path) as temporary:
        # `save_file` would leave a file that only its owner can read.
        temporary.write_bytes(save(halves, metadata={"config": config.to_json()}))


def load_params(path: Path) -> tuple[Config, dict[str, Any]]:
    """Load a model's config, and its float32 parameters under the key "params".

    `path` is a safetensors file, the folder of a run, the URL of one, or the name of a pretrained
    model. From a run the newest intact checkpoint is read, and its moving average if it has one;
    newer corrupt ones are named in a warning. Raises InputError when `path` does not exist, is
    corrupt or of another version, and when parameters are not finite.
    """
    if url_of(path) is not None:
        with local_checkpoint(path) as copy:
            return load_params(copy)
    with wrap_read_errors(path):
        path = resolve_checkpoint_path(path)
        if not path.is_dir():
            return load_params_file(path)
        return _load_newest(path)


def _load_newest(workdir: Path) -> tuple[Config, dict[str, Any]]:
    """Load config and parameters from the newest intact checkpoint of a run."""
    # Imported here: reading a file of parameters does not need Orbax.
    from v2s_jax import run_folder

    run_folder.quiet_orbax()
    paths = run_folder.list_checkpoints((workdir / run_folder.CHECKPOINTS).absolute())
    if not paths:
        raise InputError(
            f"{workdir}: a folder without a checkpoint: give the --workdir of a run that has "
            "saved one, or a .safetensors file"
        )
    corrupt: list[run_folder.CorruptCheckpointError] = []
    for path in paths:
        try:
            config, params = _load_checkpoint(path)
        except run_folder.CorruptCheckpointError as error:
            corrupt.append(error)
            continue
        for newer in corrupt:
            logger.warning("warning: %s: using that of step %s", newer, path.name)
        return config, params
    raise InputError(
        f"{workdir}: no intact checkpoint; the newest: {corrupt[0].reason}: copy the folder again"
    ) from corrupt[0]


def _load_checkpoint(path: Path) -> tuple[Config, dict[str, Any]]:
    """Load config and parameters from one checkpoint. Raises CorruptCheckpointError."""
    from v2s_jax import run_folder

    meta = run_folder.read_meta(path)
    params = run_folder.read_params(path, meta, expected_params(meta.config))
    if problem := find_non_finite(params):
        raise run_folder.CorruptCheckpointError(path, problem)
    return meta.config, params


@contextmanager
def local_checkpoint(path: Path) -> Iterator[Path]:
    """Yield what `load_params` reads at `path` as a local path: itself, or a copy of a URL's.

    Of a run, or of each run in a folder of runs, the newest intact checkpoint is copied, and the
    corrupt ones after it. Raises InputError when the URL cannot be read.
    """
    url = url_of(path)
    if url is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, *PurePosixPath(url).parts[-2:])  # models are named after both
        with named_as(copy, url):
            _download(url, copy)
            yield copy


def _download(url: str, copy: Path) -> None:
    """Copy a file, or the checkpoints to read of a run or of a folder of runs."""
    from v2s_jax import run_folder

    run_folder.quiet_orbax()
    bucket = Bucket(url)
    with wrap_bucket_errors(url, "read"):
        if bucket.is_file():
            bucket.download([""], copy)
            return
        names = bucket.names()
        if names:
            copy.mkdir(parents=True)
        done: set[str] = set()
        for checkpoint, files in run_folder.finished_checkpoints(names).items():
            run = checkpoint.removesuffix(
                f"{run_folder.CHECKPOINTS}/{PurePosixPath(checkpoint).name}"
            )
            if run in done:
                continue
            bucket.download(files, copy)
            try:
                _load_checkpoint(copy / checkpoint)
            except run_folder.CorruptCheckpointError:
                continue
            done.add(run)


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
            if "config" not in metadata:
                raise InputError(f"{path}: has no v2s_jax config: give a file that v2s train wrote")
            config = parse_config(path, metadata["config"])
            # Before anything is read: a wrong size must not be allocated.
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            check_shapes(path, config, shapes)
            flat = {name: file.get_tensor(name).astype(np.float32) for name in shapes}
    except (SafetensorError, OSError, TypeError) as error:  # the last one for a type like bfloat16
        raise InputError(
            f"{path}: not a readable checkpoint ({error}): give a .safetensors file that "
            f"v2s train wrote, or its --workdir"
        ) from error
    params = {"params": unflatten_dict(flat, sep=SEPARATOR)}
    if problem := find_non_finite(params):
        raise InputError(f"{path}: {problem}: copy the file again, or train again")
    return config, params


def parse_config(path: Path, text: str) -> Config:
    """Parse the JSON config that is stored at `path`; errors name the path."""
    try:
        return Config.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def expected_params(config: Config) -> dict[str, Any]:
    """Return the types and shapes of the parameters of the config's model."""
    return jax.eval_shape(lambda: init_params(VideoToSound(config), jax.random.key(0)))


def check_shapes(path: Path, config: Config, actual: dict[str, tuple[int, ...]]) -> None:
    """Raise InputError unless names and shapes are those of the config's model."""
    flat = flatten_dict(expected_params(config)["params"], sep=SEPARATOR)
    shapes = {name: leaf.shape for name, leaf in flat.items()}
    for name in sorted(shapes.keys() | actual.keys()):
        if shapes.get(name) != actual.get(name):
            raise InputError(
                f"{path}: {name} has shape {actual.get(name)}, the config's model expects "
                f"{shapes.get(name)}: the file is of another version or corrupt"
            )


def find_non_finite(params: dict[str, Any]) -> str | None:
    """Describe the first parameters that are NaN or infinite."""
    for name, leaf in flatten_dict(params, sep=SEPARATOR).items():
        if bad := np.count_nonzero(~np.isfinite(leaf)):
            return f"{bad} of {leaf.size} values of {name} are NaN or infinite"
    return None


def params_digest(params: dict[str, Any]) -> str:
    """Return the SHA-256 of parameters, in hexadecimal digits."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


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
