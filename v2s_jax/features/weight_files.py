"""Files of VGG weights as people have them, read into one layout; torch and TensorFlow not needed.

    file            .safetensors, .h5 (Keras), .npz
    names           torchvision  features.0.weight, classifier.0.weight
                    timm         features.0.weight, pre_logits.fc1.weight
                    Keras        block1_conv1/..., fc1/..., or layers/conv2d/..., layers/dense/...
    layout here     conv1_1.kernel [height width in out], fc6.kernel [in out] for rows, columns,
                    channels of the last map in this order

Torch has kernels as [out in height width] and lays the last map out channels first; fc6's rows are
put in order here. torchvision's and timm's weights are those of another training than Keras's and
want other preprocessing; a file that says `preprocessing` (an entry of .npz, of the metadata of
.safetensors, an attribute of .h5) decides for itself.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open

from v2s_jax.errors import InputError
from v2s_jax.features.vgg import Architecture, Preprocessing
from v2s_jax.io import ZIP_ERRORS, wrap_read_errors

PREPROCESSING = "preprocessing"
_TORCH_CONV = re.compile(r"(?:^|\.)features\.(\d+)\.(weight|bias)$")
_TORCH_FC6 = re.compile(r"(?:^|\.)(?:classifier\.0|pre_logits\.fc1)\.(weight|bias)$")
_KERAS_CONV = re.compile(r"(?:^|/)block(\d)_conv(\d)(?:/|_|$)")
_KERAS_FC6 = re.compile(r"(?:^|/)fc1(?:/|_|$)")
_KERAS_VARS_CONV = re.compile(r"(?:^|/)layers/conv2d(?:_(\d+))?/vars/\d$")
_KERAS_VARS_FC6 = re.compile(r"(?:^|/)layers/dense/vars/\d$")


class VggArrays(NamedTuple):
    """The weights of a network up to fc6, in the layout above, float32."""

    architecture: Architecture
    preprocessing: Preprocessing
    channels: int
    """Of what goes in: 3 for pictures, more for stacks of flow."""
    arrays: dict[str, np.ndarray]


def read_weight_file(path: Path, known: Iterable[Architecture]) -> VggArrays:
    """Read the weights of one of the networks that are `known`.

    Raises InputError for a file that is not there, not of these kinds, damaged, of other names,
    or of another network.
    """
    with wrap_read_errors(path):
        if not path.is_file():
            raise InputError(f"{path}: no such file: check the path of the weights")
        named, preprocessing = _read(path)
    for name, array in named.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name} holds no array of numbers: give a file of weights")
    named = {name: _as_float32(array) for name, array in named.items()}
    arrays = _torch(named) or _keras(named)
    if arrays is None:
        raise InputError(
            f"{path}: holds no VGG weights in names of torchvision, timm or Keras (first is "
            f"{next(iter(named), 'none')}): convert it to one of them"
        )
    default = "torchvision" if any(_TORCH_CONV.search(name) for name in named) else "caffe"
    preprocessing = preprocessing or default
    if preprocessing not in get_args(Preprocessing):
        raise InputError(
            f"{path}: preprocessing {preprocessing}: use one of {get_args(Preprocessing)}"
        )
    architecture, channels = _recognized(path, arrays, list(known))
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    return VggArrays(architecture, cast(Preprocessing, preprocessing), channels, arrays)


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the arrays by their names in the file, those up to fc6, and its preprocessing."""
    try:
        match path.suffix.lower():
            case ".safetensors":
                with safe_open(path, framework="numpy") as file:
                    said = (file.metadata() or {}).get(PREPROCESSING)
                    names = list(filter(_is_wanted, file.keys()))
                    return {name: file.get_tensor(name) for name in names}, said
            case ".npz":
                loaded = np.load(path, allow_pickle=False)
                if isinstance(loaded, np.ndarray):
                    raise ValueError("one array alone, as in .npy")
                with loaded as file:
                    said = str(file[PREPROCESSING]) if PREPROCESSING in file else None
                    return {name: file[name] for name in filter(_is_wanted, file)}, said
            case ".h5" | ".hdf5":
                with h5py.File(path) as file:
                    said = file.attrs.get(PREPROCESSING)
                    found: dict[str, Any] = {}

                    def keep(name: str, item: object) -> None:
                        if isinstance(item, h5py.Dataset) and _is_wanted(name):
                            found[name] = item[()]

                    file.visititems(keep)
                    return found, None if said is None else str(said)
    except (SafetensorError, ValueError, OSError, KeyError, EOFError, *ZIP_ERRORS) as error:
        reason = (str(error) or "damaged").splitlines()[0][:200]
        raise InputError(
            f"{path}: weights that cannot be read ({reason}): copy the file again"
        ) from error
    raise InputError(f"{path}: unknown kind of file: give .safetensors, .h5 or .npz")


def _as_float32(array: np.ndarray) -> np.ndarray:
    """Return float32; what it cannot hold becomes infinite, which the check of values names."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _is_wanted(name: str) -> bool:
    """Say whether the name may be of a layer up to fc6; those above it are a quarter of a file."""
    patterns = (
        _TORCH_CONV,
        _TORCH_FC6,
        _KERAS_CONV,
        _KERAS_FC6,
        _KERAS_VARS_CONV,
        _KERAS_VARS_FC6,
    )
    return any(pattern.search(name) for pattern in patterns)


def _torch(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return arrays in torchvision's or timm's names in our layout; None for other names."""
    convolutions = [
        (int(found[1]), found[2], array)
        for name, array in named.items()
        if (found := _TORCH_CONV.search(name))
    ]
    if not convolutions:
        return None
    layers = _conv_names(sorted({index for index, _, _ in convolutions}))
    arrays: dict[str, np.ndarray] = {}
    last_channels = 0
    for index, kind, array in sorted(convolutions, key=lambda entry: entry[0]):
        if kind == "weight" and array.ndim == 4:
            last_channels = array.shape[0]
            array = array.transpose(2, 3, 1, 0)
        arrays[f"{layers[index]}.{_ROLES[kind]}"] = array
    for name, array in named.items():
        if found := _TORCH_FC6.search(name):
            if found[1] == "weight":
                array = _rows_in_order(array, last_channels)
            arrays[f"fc6.{_ROLES[found[1]]}"] = array
    return arrays


_ROLES = {"weight": "kernel", "bias": "bias"}


def _rows_in_order(weight: np.ndarray, channels: int) -> np.ndarray:
    """Return torch's fc6 [out, channels x rows x columns] as [rows x columns x channels, out]."""
    if not weight.size or not channels:
        return weight  # the check of shapes names it
    outputs = weight.shape[0]
    inputs = weight.size // outputs
    side = round((inputs // channels) ** 0.5)
    if channels * side**2 != inputs:
        return weight.reshape(outputs, inputs).T  # the check of shapes names it
    maps = weight.reshape(outputs, channels, side, side)
    return maps.transpose(2, 3, 1, 0).reshape(inputs, outputs)


def _conv_names(indices: list[int]) -> dict[int, str]:
    """Return VGG's name of each convolution by its place in torch's or Keras's sequence.

    In torch's sequence convolutions are 2 apart (a ReLU between), 3 across a pooling.
    """
    names, stage, number = {}, 1, 0
    for before, index in zip([indices[0], *indices], indices, strict=False):
        if index - before > 2:
            stage, number = stage + 1, 0
        number += 1
        names[index] = f"conv{stage}_{number}"
    return names


def _keras(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return arrays in Keras's names in our layout, which is Keras's own; None for other names."""
    arrays: dict[str, np.ndarray] = {}
    by_number: dict[int, list[np.ndarray]] = {}
    for name, array in named.items():
        role = "bias" if array.ndim == 1 else "kernel"
        if found := _KERAS_CONV.search(name):
            arrays[f"conv{found[1]}_{found[2]}.{role}"] = array
        elif _KERAS_FC6.search(name) or _KERAS_VARS_FC6.search(name):
            arrays[f"fc6.{role}"] = array
        elif found := _KERAS_VARS_CONV.search(name):
            by_number.setdefault(int(found[1] or 0), []).append(array)
    # In files of .weights.h5 convolutions have numbers only; 13 are VGG16's, 16 VGG19's.
    per_stage = {13: (2, 2, 3, 3, 3), 16: (2, 2, 4, 4, 4)}.get(len(by_number), ())
    places = [(stage, i) for stage, count in enumerate(per_stage, 1) for i in range(1, count + 1)]
    for (stage, i), number in zip(places, sorted(by_number), strict=False):
        for array in by_number[number]:
            arrays[f"conv{stage}_{i}.{'bias' if array.ndim == 1 else 'kernel'}"] = array
    return arrays or None


def _recognized(
    path: Path, arrays: Mapping[str, np.ndarray], known: list[Architecture]
) -> tuple[Architecture, int]:
    """Return the network that the arrays are of, and the channels of what it reads."""
    names = {name.partition(".")[0] for name in arrays}
    fitting = [network for network in known if set(network.shapes(1)) == names]
    if not fitting:
        wanted = " or ".join(network.name for network in known)
        raise InputError(
            f"{path}: holds the layers {', '.join(sorted(names))}, wanted are all of {wanted} up "
            "to fc6: give a file with them, top included and without batch normalisation"
        )
    architecture = fitting[0]
    first = arrays.get("conv1_1.kernel")
    channels = first.shape[2] if first is not None and first.ndim == 4 else 0
    for layer, kernel in architecture.shapes(channels).items():
        for name, shape in ((f"{layer}.kernel", kernel), (f"{layer}.bias", kernel[-1:])):
            found = arrays[name].shape if name in arrays else None
            if found != shape:
                raise InputError(
                    f"{path}: {name} has shape {found}, {architecture.name} wants {shape}: give "
                    "the weights of the original network"
                )
            if not np.isfinite(arrays[name]).all():
                raise InputError(f"{path}: {name} holds NaN or infinity: copy the file again")
    return architecture, channels
