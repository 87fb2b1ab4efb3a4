"""Convert the weights of `aisfx` 0.1.2 (CC BY 4.0) for `v2s evaluate --embedding`, once.

    pip download --no-deps aisfx==0.1.2
    python -m tools.convert_aisfx aisfx-0.1.2-py2.py3-none-any.whl aisfx.safetensors

Batch normalisation is folded into the convolutions, and the heads are left out. torch is not
needed, and nothing of the pickle is executed (`torch_files.py`).
"""

import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tools.torch_files import fold, read_tensors
from v2s_jax.evaluation.aisfx import WIDTHS
from v2s_jax.io import atomic_write

CHECKPOINT = "aisfx/models/checkpoint.pth"
SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"
BATCH_NORM_EPSILON = 1e-5
LICENSE = "CC BY 4.0, Alison Bernice Ma and Alexander Lerch 2022"


def read_wheel(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of the wheel's checkpoint; exit for any other file."""
    try:
        with zipfile.ZipFile(path) as wheel:
            checkpoint = wheel.read(CHECKPOINT)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        sys.exit(f"error: {path}: not the wheel of aisfx 0.1.2 ({error}): download it with pip")
    digest = hashlib.sha256(checkpoint).hexdigest()
    if digest != SHA256:
        sys.exit(f"error: {path}: {CHECKPOINT} has SHA-256 {digest}, not {SHA256}: use aisfx 0.1.2")
    return read_tensors(checkpoint)


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays by their names in `AisfxNetwork`."""
    arrays: dict[str, np.ndarray] = {}
    for block in range(1, len(WIDTHS) + 1):
        for number in (1, 2):
            source = f"embedding_net.conv_block{block}"
            layer = f"block_{block}_conv_{number}"
            arrays[f"{layer}.kernel"], arrays[f"{layer}.bias"] = fold(
                tensors, f"{source}.conv{number}", f"{source}.bn{number}", BATCH_NORM_EPSILON
            )
    return {name: np.ascontiguousarray(x, np.float16) for name, x in arrays.items()}


def main() -> None:
    """Convert the wheel that the command line names to the file that it names."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tools.convert_aisfx WHEEL OUT.safetensors")
    wheel, out = map(Path, sys.argv[1:])
    metadata = {"source": f"aisfx 0.1.2, SHA-256 {SHA256}", "license": LICENSE}
    arrays = convert(read_wheel(wheel))
    with atomic_write(out) as temporary:
        temporary.write_bytes(save(arrays, metadata=metadata))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
