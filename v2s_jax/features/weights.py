"""Weights of VGG networks: found, converted once, known by their SHA-256.

    what                                     where
    the original VGG19 weights               ~/.keras/models ($KERAS_HOME), put there by Keras's
                                             downloader, which checks them
    converted weights, these and the user's  ~/.cache/v2s_jax ($XDG_CACHE_HOME), one file each

The digest is over names, shapes and float32 values in our own layout, and the preprocessing: the
same weights have it whatever file they come in. Converted weights are found again by the digest of
the file they came from, or by their own.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from v2s_jax.errors import InputError
from v2s_jax.features.vgg import VGG16, VGG19, Architecture, Preprocessing
from v2s_jax.features.weight_files import read_weight_file
from v2s_jax.io import atomic_write, cache_dir, file_hash, wrap_read_errors

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{KERAS_FILE}"
KERAS_MD5 = "cbe5617147190e668d6c5d5026f83318"
"""The file of `keras.applications.VGG19` (Keras 3.15): the weights of Simonyan and Zisserman."""

ARCHITECTURES = {architecture.name: architecture for architecture in (VGG19, VGG16)}

logger = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Converted weights: where they lie and what they are."""

    path: Path
    sha256: str
    architecture: Architecture
    preprocessing: Preprocessing
    channels: int
    """Of what goes in."""

    def load(self) -> dict[str, np.ndarray]:
        """Return the arrays by layer and role, as `conv1_1.kernel`; raise InputError for damage."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _damaged(self.path, str(error)) from error
        if _digest(arrays, self.preprocessing) != self.sha256:
            raise _damaged(self.path, "its SHA-256 differs")
        return arrays


def find_weights(
    file: Path | None,
    wanted_sha256: str | None,
    *,
    option: str,
    known: tuple[Architecture, ...] = (VGG19,),
) -> Weights:
    """Return the weights in `file`; without one, those wanted, or else the original VGG19's.

    Raises InputError when they are not there and cannot be had, or are others than wanted.
    `option` names the way to give a file.
    """
    if file is not None:
        found = _converted(file, known)
    else:
        found = find_cached(wanted_sha256, known) or _converted(_original(option), known)
    if wanted_sha256 not in (None, found.sha256):
        raise InputError(
            f"{file or KERAS_URL}: weights with SHA-256 {found.sha256}, wanted are "
            f"{wanted_sha256}, which the features were made with: give those with {option}"
        )
    if found.architecture not in known:
        wanted = " or ".join(architecture.name for architecture in known)
        raise InputError(f"{file}: holds {found.architecture.name}, {option} takes {wanted}")
    return found


def _converted(file: Path, known: tuple[Architecture, ...]) -> Weights:
    """Return the weights of a file, converted now unless they have been before."""
    with wrap_read_errors(file):
        if not file.is_file():
            raise InputError(f"{file}: no such file: check the path of the weights")
        source = file_hash(file).hex()
    target = cache_dir() / f"{source}.safetensors"
    if target.exists():
        return _read_metadata(target, known)
    read = read_weight_file(file, known)
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
    return _read_metadata(target, known)


def find_cached(sha256: str | None, known: tuple[Architecture, ...]) -> Weights | None:
    """Return the converted weights of this digest, if they are there."""
    if sha256 is None:
        return None
    for path in sorted(cache_dir().glob("[!.]*.safetensors")):
        try:
            weights = _read_metadata(path, known)
        except InputError as error:
            logger.warning("warning: %s", error)
            continue
        if weights.sha256 == sha256:
            return weights
    return None


def _read_metadata(path: Path, known: tuple[Architecture, ...]) -> Weights:
    """Return what a converted file says of itself, without its arrays."""
    by_name = ARCHITECTURES | {architecture.name: architecture for architecture in known}
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata()
        return Weights(
            path,
            said["sha256"],
            by_name[said["architecture"]],
            cast(Preprocessing, said["preprocessing"]),
            int(said["channels"]),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: damaged converted weights ({reason.splitlines()[0][:200]}): delete it, and it is "
        "made again from the file it came from"
    )


def original_path() -> Path:
    """Return where Keras keeps the original weights, be they there or not."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return home / "models" / KERAS_FILE


def _original(option: str) -> Path:
    """Return the file of the original weights, downloaded now unless it has been before."""
    os.environ.setdefault("KERAS_BACKEND", "jax")  # TensorFlow is not imported
    models = original_path().parent
    import keras

    try:
        models.mkdir(parents=True, exist_ok=True)  # else Keras takes /tmp
        got = keras.utils.get_file(
            KERAS_FILE,
            KERAS_URL,
            cache_dir=str(models.parent),
            cache_subdir=models.name,
            file_hash=KERAS_MD5,
        )
    except Exception as error:  # Keras raises bare ones
        raise InputError(
            f"the VGG19 weights are not here and could not be downloaded "
            f"({str(error).splitlines()[0][:200]}): download {KERAS_URL} and put it as "
            f"{original_path()}, or give a file with {option}"
        ) from error
    return Path(got)


def _digest(arrays: dict[str, np.ndarray], preprocessing: str) -> str:
    """Return the SHA-256 that weights are known by."""
    digest = hashlib.sha256(preprocessing.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()
