"""Read the tensors of PyTorch's files: without torch, and nothing of their pickle is executed."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
NUMBERS = {("numpy.core.multiarray", "scalar"), ("numpy", "dtype"), ("_codecs", "encode")}
"""What a NumPy number is made of; it is ignored."""


class _Tensor(NamedTuple):
    """A tensor whose values are elsewhere in the file."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storage: np.ndarray) -> np.ndarray:
        """Return the tensor in its storage."""
        bytes_apart = [stride * storage.itemsize for stride in self.strides]
        return as_strided(storage[self.offset :], self.shape, bytes_apart, writeable=False)


def _rebuild(*args: Any) -> _Tensor:
    return _Tensor(*args[:4])


class _Ignored:
    """Stands for a value that is not read."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _SafeUnpickler(pickle.Unpickler):
    """Reads dictionaries of tensors."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGE_TYPES:
            return name
        if (module, name) in NUMBERS:
            return _Ignored
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a file of tensors")

    def persistent_load(self, description: Any) -> str:
        kind, dtype, key = description[:3]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown reference {kind}")
        self.dtypes[key] = STORAGE_TYPES[dtype]
        return key


def read_old_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file in torch's format before 1.6."""
    with path.open("rb") as file:
        for _ in range(3):  # a magic number, the version, sizes of types
            _SafeUnpickler(file).load()
        unpickler = _SafeUnpickler(file)
        tensors: dict[str, _Tensor] = unpickler.load()
        storages = {}
        for key in _SafeUnpickler(file).load():
            (count,) = np.fromfile(file, "<i8", 1)
            storages[key] = np.fromfile(file, unpickler.dtypes[key], count)
    return {name: tensor.of(storages[tensor.storage]) for name, tensor in tensors.items()}


def read_tensors(file: bytes) -> dict[str, np.ndarray]:
    """Read the tensors of a file in torch's format since 1.6; of a tuple, of its first item."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        unpickler = _SafeUnpickler(io.BytesIO(archive.read(pickled)))
        found = unpickler.load()
        tensors: dict[str, _Tensor] = found[0] if isinstance(found, tuple) else found
        storages = {
            key: np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
            for key, dtype in unpickler.dtypes.items()
        }
    return {name: tensor.of(storages[tensor.storage]) for name, tensor in tensors.items()}


def fold(
    tensors: dict[str, np.ndarray], convolution: str, norm: str, epsilon: float
) -> tuple[np.ndarray, ...]:
    """Return kernel [height width in out] and bias of a convolution and its batch normalisation."""
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + epsilon)
    kernel = tensors[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
    return kernel.transpose(2, 3, 1, 0), bias
