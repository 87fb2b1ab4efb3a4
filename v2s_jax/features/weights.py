"""Find the weights of VGG networks, and cache them under their SHA-256.

    the original VGG19 weights   ~/.keras/models ($KERAS_HOME), downloaded by Keras
    converted weights            ~/.cache/v2s_jax ($XDG_CACHE_HOME), one file each

The SHA-256 is over names, shapes and float32 values after conversion, and the preprocessing, so it
does not depend on the kind of file. Converted weights are looked up by the hash of their source
file, or by their own.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from v2s_jax.errors import InputError, require_extra
from v2s_jax.features.vgg import VGG16, VGG19, Architecture, Preprocessing
from v2s_jax.features.weight_files import read_weight_file
from v2s_jax.io import atomic_write, cache_dir, file_hash, wrap_read_errors

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{KERAS_FILE}"
KERAS_MD5 = "cbe5617147190e668d6c5d5026f83318"
"""The file of `keras.applications.VGG19` (Keras 3.15): the weights of Simonyan and Zisserman."""

logger = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Converted weights in the cache."""

    path: Path
    sha256: str
    architecture: Architecture
    preprocessing: Preprocessing
    channels: int
    """Channels of the input."""

    def load(self) -> dict[str, np.ndarray]:
        """Return the arrays by layer and role, as `conv1_1.kernel`; raise InputError if corrupt."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _corrupt_error(self.path, str(error)) from error
        if _digest(arrays, self.preprocessing) != self.sha256:
            raise _corrupt_error(self.path, "its SHA-256 differs")
        return arrays


def find_weights(
    file: Path | None,
    required_sha256: str | None,
    *,
    option: str,
    architectures: tuple[Architecture, ...] = (VGG19,),
) -> Weights:
    """Return the weights of `file`; without one, those of the SHA-256, or the original VGG19's.

    `option` is the command-line option that gives the file. Raises InputError when weights are
    missing and cannot be downloaded, or have another SHA-256 than required.
    """
    if file is not None:
        weights = _convert(file, architectures)
    else:
        weights = find_cached(required_sha256, architectures) or _convert(
            _original(option), architectures
        )
    if required_sha256 not in (None, weights.sha256):
        raise InputError(
            f"{file or KERAS_URL}: weights with SHA-256 {weights.sha256}, but the features were "
            f"computed with {required_sha256}: give those with {option}"
        )
    if weights.architecture not in architectures:
        names = " or ".join(architecture.name for architecture in architectures)
        raise InputError(f"{file}: is {weights.architecture.name}, {option} takes {names}")
    return weights


def _convert(file: Path, architectures: tuple[Architecture, ...]) -> Weights:
    """Return the weights of a file, converted unless the cache has them."""
    with wrap_read_errors(file):
        if not file.is_file():
            raise InputError(f"{file}: no such file: check the path of the weights")
        source = file_hash(file).hex()
    target = cache_dir() / f"{source}.safetensors"
    if target.exists():
        return _read_metadata(target, architectures)
    read = read_weight_file(file, architectures)
    metadata = {
        "sha256": _digest(read.arrays, read.preprocessing),
        "architecture": read.architecture.name,
        "preprocessing": read.preprocessing,
        "channels": str(read.channels),
    }
    with atomic_write(target) as temporary:
        try:
            save_file(read.arrays, temporary, metadata=metadata)
        except SafetensorError as error:
            raise InputError(
                f"{target}: cannot be written ({error}): free space or choose another folder with "
                "XDG_CACHE_HOME"
            ) from error
    return _read_metadata(target, architectures)


def find_cached(sha256: str | None, architectures: tuple[Architecture, ...]) -> Weights | None:
    """Return the converted weights of this SHA-256, if the cache has them."""
    if sha256 is None:
        return None
    for path in sorted(cache_dir().glob("[!.]*.safetensors")):
        try:
            weights = _read_metadata(path, architectures)
        except InputError as error:
            logger.warning("warning: %s", error)
            continue
        if weights.sha256 == sha256:
            return weights
    return None


def _read_metadata(path: Path, architectures: tuple[Architecture, ...]) -> Weights:
    """Read the description of converted weights, without their arrays."""
    by_name = {known.name: known for known in (VGG19, VGG16, *architectures)}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
        return Weights(
            path,
            metadata["sha256"],
            by_name[metadata["architecture"]],
            cast(Preprocessing, metadata["preprocessing"]),
            int(metadata["channels"]),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _corrupt_error(path, str(error)) from error


def _corrupt_error(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: corrupt converted weights ({reason.splitlines()[0][:200]}): delete it, and run "
        "again to convert the original file"
    )


def original_path() -> Path:
    """Return the path of the original weights, existing or not."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return home / "models" / KERAS_FILE


def _original(option: str) -> Path:
    """Return the file of the original weights, downloaded if it does not exist."""
    require_extra("vgg", "keras")
    os.environ.setdefault("KERAS_BACKEND", "jax")  # TensorFlow is not imported
    models = original_path().parent
    import keras

    try:
        models.mkdir(parents=True, exist_ok=True)  # without it, Keras uses /tmp
        file = keras.utils.get_file(
            KERAS_FILE,
            KERAS_URL,
            cache_dir=str(models.parent),
            cache_subdir=models.name,
            file_hash=KERAS_MD5,
        )
    except Exception as error:  # Keras raises bare Exception
        raise InputError(
            f"the VGG19 weights are missing and cannot be downloaded "
            f"({str(error).splitlines()[0][:200]}): save {KERAS_URL} as "
            f"{original_path()}, or give a file with {option}"
        ) from error
    return Path(file)


def _digest(arrays: dict[str, np.ndarray], preprocessing: str) -> str:
    """Return the SHA-256 of converted weights."""
    digest = hashlib.sha256(preprocessing.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()
