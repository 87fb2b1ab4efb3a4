"""Find the weights of VGG networks, convert them, and cache them under their SHA-256.

    .safetensors   torchvision  features.0.weight, classifier.0.weight
                   timm         features.0.weight, pre_logits.fc1.weight
    .h5            Keras        block1_conv1/..., fc1/...
    result         conv1_1.kernel [height width in out], fc6.kernel [in out], float32; fc6's input
                   is the last map [height width channels]

    the original VGG19 weights   ~/.keras/models ($KERAS_HOME), downloaded by Keras
    converted weights            ~/.cache/v2s_jax ($XDG_CACHE_HOME), one file each

torch's kernels are [out in height width], and fc6's input is the last map [channels height width].
torchvision's and timm's weights are from another training than Keras's, with other preprocessing.
The SHA-256 is over names, shapes and values after conversion, and the preprocessing, so it does not
depend on the kind of file. Converted weights are looked up by the hash of their source file, or by
their own.
"""

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from v2s_jax.errors import InputError, reason, require_extra
from v2s_jax.features.vgg import VGG16, VGG19, Architecture, Preprocessing
from v2s_jax.io import atomic_write, cache_dir, file_hash, wrap_read_errors

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{KERAS_FILE}"
KERAS_MD5 = "cbe5617147190e668d6c5d5026f83318"
"""The file of `keras.applications.VGG19` (Keras 3.15): the weights of Simonyan and Zisserman."""

_TORCH_CONV = re.compile(r"(?:^|\.)features\.(\d+)\.(weight|bias)$")
_TORCH_FC6 = re.compile(r"(?:^|\.)(?:classifier\.0|pre_logits\.fc1)\.(weight|bias)$")
_KERAS_CONV = re.compile(r"(?:^|/)block(\d)_conv(\d)(?:/|_|$)")
_KERAS_FC6 = re.compile(r"(?:^|/)fc1(?:/|_|$)")
# Layers above fc6 are a quarter of a file: they are not read.
_NEEDED = (_TORCH_CONV, _TORCH_FC6, _KERAS_CONV, _KERAS_FC6)
_ROLES = {"weight": "kernel", "bias": "bias"}

logger = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Converted weights in the cache."""

    path: Path
    sha256: str
    architecture: Architecture
    preprocessing: Preprocessing
    channels: int
    """Channels of the input: 3 for images, more for stacks of flow."""

    def load(self) -> dict[str, np.ndarray]:
        """Return the arrays by layer and role, as `conv1_1.kernel`; raise InputError if corrupt."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _corrupt_error(self.path, reason(error)) from error
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
    weights = find_cached(required_sha256, architectures) if file is None else None
    if weights is None:
        weights = _convert(file or _original(option), architectures)
    if required_sha256 not in (None, weights.sha256):
        raise InputError(
            f"{file or KERAS_URL}: weights with SHA-256 {weights.sha256}, but the features were "
            f"computed with {required_sha256}: give those with {option}"
        )
    if weights.architecture not in architectures:  # converted earlier, for another option
        names = " or ".join(architecture.name for architecture in architectures)
        raise InputError(f"{file}: is {weights.architecture.name}, {option} takes {names}")
    return weights


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
        raise _corrupt_error(path, reason(error)) from error


def _corrupt_error(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: corrupt converted weights ({why}): delete it, and run again to convert the "
        "original file"
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
            f"the VGG19 weights are missing and cannot be downloaded ({reason(error)}): save "
            f"{KERAS_URL} as {original_path()}, or give a file with {option}"
        ) from error
    return Path(file)


def _digest(arrays: Mapping[str, np.ndarray], preprocessing: str) -> str:
    """Return the SHA-256 of converted weights."""
    digest = hashlib.sha256(preprocessing.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()


def _convert(file: Path, architectures: tuple[Architecture, ...]) -> Weights:
    """Return the weights of a file, converted unless the cache has them.

    Raises InputError when the file is missing, of another kind, corrupt, has other names, or is of
    another network.
    """
    with wrap_read_errors(file):
        if not file.is_file():
            raise InputError(f"{file}: no such file: check the path of the weights")
        target = cache_dir() / f"{file_hash(file).hex()}.safetensors"
        if target.exists():
            return _read_metadata(target, architectures)
        named = _read(file)
    is_torch = any(_TORCH_CONV.search(name) for name in named)
    arrays = _from_torch(named, architectures) if is_torch else _from_keras(named)
    if not arrays:
        raise InputError(
            f"{file}: has no VGG weights with names of torchvision, timm or Keras (first is "
            f"{next(iter(named), 'none')}): convert it to one of them"
        )
    architecture, channels = _identify(file, arrays, architectures)
    preprocessing = "torchvision" if is_torch else "caffe"
    metadata = {
        "sha256": _digest(arrays, preprocessing),
        "architecture": architecture.name,
        "preprocessing": preprocessing,
        "channels": str(channels),
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_write(target) as temporary:
        try:
            save_file(contiguous, temporary, metadata=metadata)
        except SafetensorError as error:
            raise InputError(
                f"{target}: cannot be written ({error}): free space or choose another folder with "
                "XDG_CACHE_HOME"
            ) from error
    return _read_metadata(target, architectures)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the needed arrays in float32 by their names in the file."""
    match path.suffix.lower():
        case ".safetensors":
            read = _read_safetensors
        case ".h5" | ".hdf5":
            require_extra("vgg", "h5py")
            read = _read_hdf5
        case _:
            raise InputError(f"{path}: unknown kind of file: give .safetensors or .h5")
    try:
        return {name: np.asarray(array, np.float32) for name, array in read(path).items()}
    except (SafetensorError, ValueError, OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: cannot read the weights ({reason(error)}): copy the file again"
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in filter(_is_needed, file.keys())}


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and _is_needed(name):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def _is_needed(name: str) -> bool:
    return any(pattern.search(name) for pattern in _NEEDED)


def _from_torch(
    named: Mapping[str, np.ndarray], architectures: tuple[Architecture, ...]
) -> dict[str, np.ndarray]:
    """Convert arrays with names of torchvision or timm.

    Their convolutions are numbered in order; how many there are tells the architectures apart.
    """
    convolutions = sorted(
        (int(match[1]), match[2], name) for name in named if (match := _TORCH_CONV.search(name))
    )
    indices = sorted({index for index, _, _ in convolutions})
    same_depth = [net for net in architectures if sum(net.convolutions) == len(indices)]
    *names, _ = (same_depth or architectures)[0].shapes(1)  # all but fc6
    layers = dict(zip(indices, names, strict=False))
    arrays: dict[str, np.ndarray] = {}
    for index, kind, name in convolutions:
        array = named[name]
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        arrays[f"{layers.get(index, f'features_{index}')}.{_ROLES[kind]}"] = array
    last_channels = named[convolutions[-1][2]].shape[0]
    for name, array in named.items():
        if match := _TORCH_FC6.search(name):
            row = len(array) * last_channels
            if match[1] == "weight" and row and array.size % row == 0:
                maps = array.reshape(len(array), last_channels, -1)
                array = maps.transpose(2, 1, 0).reshape(-1, len(array))
            arrays[f"fc6.{_ROLES[match[1]]}"] = array
    return arrays


def _from_keras(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename arrays with names of Keras, which already have the right axes."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in named.items():
        role = "bias" if array.ndim == 1 else "kernel"
        if match := _KERAS_CONV.search(name):
            arrays[f"conv{match[1]}_{match[2]}.{role}"] = array
        elif _KERAS_FC6.search(name):
            arrays[f"fc6.{role}"] = array
    return arrays


def _identify(
    path: Path, arrays: Mapping[str, np.ndarray], architectures: tuple[Architecture, ...]
) -> tuple[Architecture, int]:
    """Return the architecture of the arrays and the channels of its input."""
    layers = {name.partition(".")[0] for name in arrays}
    architecture = next((net for net in architectures if set(net.shapes(1)) == layers), None)
    if architecture is None:
        names = " or ".join(known.name for known in architectures)
        raise InputError(
            f"{path}: has the layers {', '.join(sorted(layers))}, expected all of {names} up to "
            "fc6: give a file with them, including the top, without batch normalisation"
        )
    first = arrays.get("conv1_1.kernel")
    channels = first.shape[2] if first is not None and first.ndim == 4 else 0
    for layer, kernel in architecture.shapes(channels).items():
        for name, shape in ((f"{layer}.kernel", kernel), (f"{layer}.bias", kernel[-1:])):
            actual = arrays[name].shape if name in arrays else None
            if actual != shape:
                raise InputError(
                    f"{path}: {name} has shape {actual}, {architecture.name} has {shape}: give "
                    "the weights of the original network"
                )
            if not np.isfinite(arrays[name]).all():
                raise InputError(f"{path}: {name} contains NaN or infinity: copy the file again")
    return architecture, channels
