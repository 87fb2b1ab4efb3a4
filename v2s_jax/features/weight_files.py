"""Read VGG weights from the files that people have, without torch or TensorFlow.

    .safetensors   torchvision  features.0.weight, classifier.0.weight
                   timm         features.0.weight, pre_logits.fc1.weight
    .h5            Keras        block1_conv1/..., fc1/...
    result         conv1_1.kernel [height width in out], fc6.kernel [in out]; fc6's input is the
                   last map [height width channels]

torch's kernels are [out in height width], and fc6's input is the last map [channels height width]:
its rows are permuted here. torchvision's and timm's weights are from another training than Keras's,
with other preprocessing. `preprocessing` in the metadata of .safetensors, or in the attributes of
.h5, overrides the default.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np
from safetensors import SafetensorError, safe_open

from v2s_jax.errors import InputError, require_extra
from v2s_jax.features.vgg import Architecture, Preprocessing
from v2s_jax.io import wrap_read_errors

PREPROCESSING = "preprocessing"
_TORCH_CONV = re.compile(r"(?:^|\.)features\.(\d+)\.(weight|bias)$")
_TORCH_FC6 = re.compile(r"(?:^|\.)(?:classifier\.0|pre_logits\.fc1)\.(weight|bias)$")
_KERAS_CONV = re.compile(r"(?:^|/)block(\d)_conv(\d)(?:/|_|$)")
_KERAS_FC6 = re.compile(r"(?:^|/)fc1(?:/|_|$)")
# Layers above fc6 are a quarter of a file: they are not read.
_NEEDED = (_TORCH_CONV, _TORCH_FC6, _KERAS_CONV, _KERAS_FC6)
_ROLES = {"weight": "kernel", "bias": "bias"}


class VggArrays(NamedTuple):
    """The weights of a network up to fc6, as described above, float32."""

    architecture: Architecture
    preprocessing: Preprocessing
    channels: int
    """Channels of the input: 3 for images, more for stacks of flow."""
    arrays: dict[str, np.ndarray]


def read_weight_file(path: Path, architectures: Iterable[Architecture]) -> VggArrays:
    """Read the weights of one of the architectures.

    Raises InputError when the file is missing, of another kind, corrupt, has other names, or is of
    another network.
    """
    with wrap_read_errors(path):
        if not path.is_file():
            raise InputError(f"{path}: no such file: check the path of the weights")
        named, preprocessing = _read(path)
    for name, array in named.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name} is not an array of numbers: give a file of weights")
        with np.errstate(over="ignore"):  # an overflow is infinite, which `_identify` reports
            named[name] = array.astype(np.float32, copy=False)
    is_torch = any(_TORCH_CONV.search(name) for name in named)
    arrays = _from_torch(named) if is_torch else _from_keras(named)
    if not arrays:
        raise InputError(
            f"{path}: has no VGG weights with names of torchvision, timm or Keras (first is "
            f"{next(iter(named), 'none')}): convert it to one of them"
        )
    preprocessing = preprocessing or ("torchvision" if is_torch else "caffe")
    if preprocessing not in get_args(Preprocessing):
        raise InputError(
            f"{path}: preprocessing {preprocessing}: use one of {get_args(Preprocessing)}"
        )
    architecture, channels = _identify(path, arrays, list(architectures))
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    return VggArrays(architecture, cast(Preprocessing, preprocessing), channels, arrays)


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the needed arrays by their names in the file, and its preprocessing."""
    match path.suffix.lower():
        case ".safetensors":
            read = _read_safetensors
        case ".h5" | ".hdf5":
            require_extra("vgg", "h5py")
            read = _read_hdf5
        case _:
            raise InputError(f"{path}: unknown kind of file: give .safetensors or .h5")
    try:
        return read(path)
    except (SafetensorError, ValueError, OSError, KeyError, RuntimeError) as error:
        reason = (str(error) or "corrupt").splitlines()[0][:200]
        raise InputError(
            f"{path}: cannot read the weights ({reason}): copy the file again"
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, Any], str | None]:
    with safe_open(path, framework="numpy") as file:
        preprocessing = (file.metadata() or {}).get(PREPROCESSING)
        names = list(filter(_is_needed, file.keys()))
        return {name: file.get_tensor(name) for name in names}, preprocessing


def _read_hdf5(path: Path) -> tuple[dict[str, Any], str | None]:
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and _is_needed(name):
            found[name] = item[()]

    with h5py.File(path) as file:
        preprocessing = file.attrs.get(PREPROCESSING)
        file.visititems(visit)
    return found, None if preprocessing is None else str(preprocessing)


def _is_needed(name: str) -> bool:
    return any(pattern.search(name) for pattern in _NEEDED)


def _from_torch(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert arrays with names of torchvision or timm."""
    convolutions = sorted(
        (int(match[1]), match[2], name) for name in named if (match := _TORCH_CONV.search(name))
    )
    layers = _conv_names(sorted({index for index, _, _ in convolutions}))
    arrays: dict[str, np.ndarray] = {}
    last_channels = 0
    for index, kind, name in convolutions:
        array = named[name]
        if kind == "weight" and array.ndim == 4:
            last_channels = array.shape[0]
            array = array.transpose(2, 3, 1, 0)
        arrays[f"{layers[index]}.{_ROLES[kind]}"] = array
    for name, array in named.items():
        if match := _TORCH_FC6.search(name):
            if match[1] == "weight":
                array = _permute_fc6(array, last_channels)
            arrays[f"fc6.{_ROLES[match[1]]}"] = array
    return arrays


def _permute_fc6(weight: np.ndarray, channels: int) -> np.ndarray:
    """Convert torch's fc6 [out, channels x height x width] to [height x width x channels, out].

    An array of another shape is returned as it is, or flattened: `_identify` reports it.
    """
    if not weight.size or not channels:
        return weight
    outputs = weight.shape[0]
    inputs = weight.size // outputs
    side = round((inputs // channels) ** 0.5)
    if channels * side**2 != inputs:
        return weight.reshape(outputs, inputs).T
    maps = weight.reshape(outputs, channels, side, side)
    return maps.transpose(2, 3, 1, 0).reshape(inputs, outputs)


def _conv_names(indices: list[int]) -> dict[int, str]:
    """Return the name of each convolution by its index in torch's sequence.

    Indices differ by 2 within a stage (a ReLU between), by 3 from stage to stage (a pooling too).
    """
    names, stage, number = {}, 1, 0
    for before, index in zip([indices[0], *indices], indices, strict=False):
        if index - before > 2:
            stage, number = stage + 1, 0
        number += 1
        names[index] = f"conv{stage}_{number}"
    return names


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
    path: Path, arrays: Mapping[str, np.ndarray], architectures: list[Architecture]
) -> tuple[Architecture, int]:
    """Return the architecture of the arrays and the channels of its input."""
    layers = {name.partition(".")[0] for name in arrays}
    matching = [known for known in architectures if set(known.shapes(1)) == layers]
    if not matching:
        names = " or ".join(known.name for known in architectures)
        raise InputError(
            f"{path}: has the layers {', '.join(sorted(layers))}, expected all of {names} up to "
            "fc6: give a file with them, including the top, without batch normalisation"
        )
    architecture = matching[0]
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
