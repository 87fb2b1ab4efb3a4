"""Random VGG weights, with the names and layouts of torch, timm and Keras; a reference in NumPy."""

from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file

from v2s_jax.features.vgg import Architecture

SMALL = Architecture("small", (2, 2, 4, 4, 4), (3, 4, 5, 6, 7), fc6_dim=11, input_px=64)
"""The layers of VGG19 with few channels and a last map of 2 x 2 px."""


def torch_weights(net: Architecture, seed: int = 0, channels: int = 3) -> dict[str, np.ndarray]:
    """Weights with torchvision's names: kernels [out in height width], fc6 [out, c x h x w]."""
    random = np.random.default_rng(seed)
    arrays, index = {}, 0

    def draw(name: str, shape: tuple[int, ...]) -> None:
        scale = np.float32((2 / np.prod(shape[1:])) ** 0.5)  # keeps the scale of activations
        arrays[f"{name}.weight"] = random.standard_normal(shape, np.float32) * scale
        arrays[f"{name}.bias"] = random.standard_normal(shape[0], np.float32) * np.float32(0.1)

    for count, width in zip(net.convolutions, net.widths, strict=True):
        for _ in range(count):
            draw(f"features.{index}", (width, channels, 3, 3))
            channels, index = width, index + 2
        index += 1
    draw("classifier.0", (net.fc6_dim, channels * net.map_px**2))
    return arrays


def timm_weights(arrays: dict[str, np.ndarray], net: Architecture) -> dict[str, np.ndarray]:
    """The same with timm's names, where fc6 is a convolution."""
    shape = (net.fc6_dim, net.widths[-1], net.map_px, net.map_px)
    renamed = {key.replace("classifier.0", "pre_logits.fc1"): a for key, a in arrays.items()}
    return {**renamed, "pre_logits.fc1.weight": arrays["classifier.0.weight"].reshape(shape)}


def keras_weights(arrays: dict[str, np.ndarray], net: Architecture) -> dict[str, np.ndarray]:
    """The same in Keras's layout, named `block1_conv1/kernel`."""
    indices = iter(sorted({int(key.split(".")[1]) for key in arrays if key[0] == "f"}))
    found = {}
    for stage, count in enumerate(net.convolutions, 1):
        for number in range(1, count + 1):
            index = next(indices)
            name = f"block{stage}_conv{number}"
            found[f"{name}/kernel"] = np.moveaxis(
                arrays[f"features.{index}.weight"], (0, 1), (3, 2)
            )
            found[f"{name}/bias"] = arrays[f"features.{index}.bias"]
    rows = np.empty((net.map_px**2 * net.widths[-1], net.fc6_dim), np.float32)
    for row in range(len(rows)):  # row-major, channels last
        place, channel = divmod(row, net.widths[-1])
        rows[row] = arrays["classifier.0.weight"][:, channel * net.map_px**2 + place]
    return {**found, "fc1/kernel": rows, "fc1/bias": arrays["classifier.0.bias"]}


def write_weights(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays under their names, in the format of the suffix."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    match path.suffix:
        case ".safetensors":
            save_file(arrays, path)
        case ".h5":
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file[name] = array
    return path


def reference_fc6(
    arrays: dict[str, np.ndarray], net: Architecture, image: np.ndarray
) -> np.ndarray:
    """fc6 of one preprocessed image [channels height width] as torch computes it, in NumPy."""
    maps, index = image.astype(np.float32), 0
    for count in net.convolutions:
        for _ in range(count):
            weight, bias = arrays[f"features.{index}.weight"], arrays[f"features.{index}.bias"]
            height, width = maps.shape[1:]
            padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
            total = np.zeros((len(weight), height * width), np.float32)
            for row in range(3):
                for column in range(3):
                    part = padded[:, row : row + height, column : column + width]
                    total += weight[:, :, row, column] @ part.reshape(len(part), -1)
            total += bias[:, None]
            maps, index = np.maximum(total, 0).reshape(-1, height, width), index + 2
        channels, height, width = maps.shape
        maps = maps.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
        index += 1
    vector = arrays["classifier.0.weight"] @ maps.reshape(-1) + arrays["classifier.0.bias"]
    return np.maximum(vector, 0)
