"""Weights: all kinds of files give the same arrays; errors are one line."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from tests.vgg_weights import SMALL, keras_weights, timm_weights, torch_weights, write_weights
from v2s_jax.config import ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features import vgg19, weights
from v2s_jax.features.extractor import WeightFiles
from v2s_jax.features.weights import Weights, find_weights
from v2s_jax.io import cache_dir

TORCH = torch_weights(SMALL)
KERAS = keras_weights(TORCH, SMALL)
# As in the file of keras.applications, and as in a saved model.
LEGACY = {
    f"{layer}/{layer}_{'W' if role == 'kernel' else 'b'}_1:0": array
    for (layer, role), array in ((name.split("/"), array) for name, array in KERAS.items())
}
FILE = "w.safetensors"
IN_MODEL = {f"model_weights/{name.split('/')[0]}/vgg19/{name}": a for name, a in KERAS.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def find(path: Path | None, required_sha256: str | None = None) -> Weights:
    return find_weights(path, required_sha256, option="--vgg19-weights", architectures=(SMALL,))


def rejected(path: Path | None, message: str, required_sha256: str | None = None) -> str:
    with pytest.raises(InputError, match=message) as caught:
        find(path, required_sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("torchvision.safetensors", TORCH),
        ("module.safetensors", {f"module.{name}": array for name, array in TORCH.items()}),
        ("timm.safetensors", timm_weights(TORCH, SMALL)),
        ("legacy.h5", LEGACY),
        ("keras.h5", KERAS),
        ("model.h5", IN_MODEL),
    ],
)
def test_all_kinds_of_files_give_the_same_arrays(folder, name, arrays):
    above = {"classifier.3.weight": np.ones((2, 2)), "fc2/kernel": np.ones((2, 2))}
    found = find(write_weights(folder / name, {**arrays, **above}))
    assert found.preprocessing == (
        "caffe" if arrays in (KERAS, LEGACY, IN_MODEL) else "torchvision"
    )
    loaded = found.load()
    for key, array in KERAS.items():
        layer, role = key.split("/")
        ours = layer.replace("block", "conv").replace("_conv", "_").replace("fc1", "fc6")
        np.testing.assert_array_equal(loaded.pop(f"{ours}.{role}"), array)
    assert not loaded


def test_sha256_is_of_values_and_preprocessing(folder):
    changed = {**TORCH, "classifier.0.bias": TORCH["classifier.0.bias"] + np.float32(1e-6)}
    torchvision, timm, keras, legacy, other = (
        find(write_weights(folder / name, arrays)).sha256
        for name, arrays in (
            ("a.safetensors", TORCH),
            ("b.safetensors", timm_weights(TORCH, SMALL)),
            ("c.h5", KERAS),
            ("d.h5", LEGACY),
            ("e.safetensors", changed),
        )
    )
    assert torchvision == timm and keras == legacy
    assert len({torchvision, keras, other}) == 3


def test_half_precision_weights_are_widened(folder):
    halves = {name: array.astype(np.float16) for name, array in TORCH.items()}
    loaded = find(write_weights(folder / "half.safetensors", halves)).load()
    assert all(array.dtype == np.float32 for array in loaded.values())
    np.testing.assert_array_equal(loaded["fc6.bias"], halves["classifier.0.bias"])


def test_converted_weights_are_cached(folder):
    path = write_weights(folder / "w.safetensors", TORCH)
    first = find(path)
    converted_at = first.path.stat().st_mtime_ns
    assert find(path) == first
    moved = path.rename(folder / "elsewhere.safetensors")
    assert find(moved) == first
    moved.unlink()
    assert find(None, first.sha256) == first
    assert first.path.stat().st_mtime_ns == converted_at
    assert [found.parent for found in cache_dir().iterdir()] == [first.path.parent]


def test_other_corrupt_files_in_the_cache_are_skipped(folder, caplog):
    found = find(write_weights(folder / "w.safetensors", TORCH))
    corrupt = found.path.with_name("0.safetensors")
    corrupt.write_bytes(b"corrupt")
    assert find(None, found.sha256) == found
    assert str(corrupt) in caplog.text and "delete it" in caplog.text


def test_other_weights_than_required_are_rejected(folder):
    path = write_weights(folder / "w.safetensors", TORCH)
    message = rejected(
        path, r"w\.safetensors: weights with SHA-256 \w{64}, but .* with a{64}", "a" * 64
    )
    assert message.endswith("give those with --vgg19-weights")


def test_corrupt_cached_weights_are_reported(folder):
    found = find(write_weights(folder / "w.safetensors", TORCH))
    data = bytearray(found.path.read_bytes())
    data[-1] ^= 1
    found.path.write_bytes(data)
    with pytest.raises(InputError, match=r"its SHA-256 differs\): delete it") as caught:
        found.load()
    assert str(found.path) in str(caught.value)
    found.path.write_bytes(data[:100])
    rejected(folder / "w.safetensors", "corrupt converted weights")
    found.path.unlink()
    assert find(folder / "w.safetensors") == found


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in TORCH.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        (
            FILE,
            without("classifier.0.weight", "classifier.0.bias"),
            "expected all of small",
        ),
        (
            FILE,
            without("classifier.0.bias"),
            r"fc6\.bias has shape None, small has \(11,\)",
        ),
        (
            FILE,
            torch_weights(SMALL._replace(fc6_dim=12)),
            r"fc6\.kernel has shape \(28, 12\)",
        ),
        (
            FILE,
            torch_weights(SMALL._replace(convolutions=(2, 2, 3, 3, 3))),
            "has the layers conv1_1, .* including the top",
        ),
        (
            FILE,
            {"conv.weight": np.ones(3)},
            "has no VGG weights with names of torchvision",
        ),
        (FILE, {}, "has no VGG weights"),
        (
            FILE,
            {name: array[..., 0, 0] if array.ndim == 4 else array for name, array in TORCH.items()},
            r"conv1_1\.kernel has shape \(3, 3\), small has",
        ),
        (
            FILE,
            {**TORCH, "classifier.0.weight": np.ones((0, 28), np.float32)},
            r"fc6\.kernel has shape \(0, 28\)",
        ),
        ("w.h5", {**KERAS, "fc1/bias": np.array(b"text")}, r"cannot read the weights \(could not"),
        (
            FILE,
            {**TORCH, "features.0.bias": np.full(3, np.nan, np.float32)},
            r"conv1_1\.bias contains NaN or infinity",
        ),
    ],
)
def test_weights_of_another_network_are_rejected(folder, name, arrays, message):
    rejected(write_weights(folder / name, arrays), message)
    assert not list(cache_dir().glob("*")) if cache_dir().exists() else True


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", None])
def test_corrupt_files(folder, suffix, content):
    path = write_weights(folder / f"w{suffix}", KERAS)
    path.write_bytes(path.read_bytes()[:-1_000] if content is None else content)
    rejected(path, rf"w\{suffix}: (cannot read the weights|has|fc6|conv)")


def test_full_disk_while_converting(folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Io(No space left on device)")

    monkeypatch.setattr(weights, "save_file", full)
    rejected(write_weights(folder / FILE, TORCH), "cannot be written .*No space left")
    assert not list(cache_dir().iterdir())


def test_paths_without_weights(folder):
    rejected(folder / "none.h5", r"none\.h5: no such file")
    rejected(folder, "no such file")
    (folder / "w.pth").write_bytes(b"x")
    rejected(folder / "w.pth", r"unknown kind of file: give \.safetensors or \.h5")


@pytest.mark.slow
def test_failed_download_says_what_to_save_where(folder):
    program = """
import sys
from v2s_jax.cli.run import run_cli
from v2s_jax.features.extractor import ExtractorSpec, resolve_spec
def main():
    try:
        resolve_spec(ExtractorSpec("vgg19"))
    finally:
        assert "tensorflow" not in sys.modules and "torch" not in sys.modules
run_cli(main)
"""
    unreachable = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **unreachable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    error = ended.stderr.splitlines()[-1]
    assert error.startswith("error: the VGG19 weights are missing and cannot be downloaded")
    assert f"save {weights.KERAS_URL} as {folder / 'keras' / 'models'}" in error
    assert error.endswith("or give a file with --vgg19-weights")
    assert "Traceback" not in ended.stderr


def test_original_weights_are_found_in_the_keras_cache(folder, monkeypatch):
    original = folder / "keras" / "models" / weights.KERAS_FILE
    original.parent.mkdir(parents=True)
    write_weights(original, LEGACY)
    md5 = hashlib.md5(original.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "KERAS_MD5", md5)
    found = find(None)
    assert found.preprocessing == "caffe"
    assert find(None, found.sha256) == found


def test_choice_of_motion_weights(folder, monkeypatch):
    monkeypatch.setattr(vgg19, "APPEARANCE_NETWORKS", (SMALL,))
    monkeypatch.setattr(vgg19, "MOTION_NETWORKS", (SMALL,))

    def find(config: ExtractorConfig, images: Path, motion: Path | None) -> vgg19.Vgg19Weights:
        return vgg19.find_vgg19_weights(config, WeightFiles(images, motion))

    images = write_weights(folder / "images.safetensors", TORCH)
    flow = write_weights(folder / "flow.safetensors", torch_weights(SMALL, seed=1, channels=20))
    other = write_weights(folder / "other.safetensors", torch_weights(SMALL, seed=2, channels=5))
    shared = find(ExtractorConfig(), images, None)
    assert shared.motion == shared.appearance and shared.motion_origin == "cross_modality"
    separate = find(ExtractorConfig(), images, flow)
    assert separate.motion_origin == "flow_weights"
    required = ExtractorConfig(motion_weights_sha256=separate.motion.sha256)
    assert find(required, images, None) == separate  # from the cache
    for changed, files, message in (
        ("b" * 64, (images, None), "motion weights with SHA-256 b{64}, .* --motion-weights"),
        ("b" * 64, (images, flow), r"flow\.safetensors: weights with SHA-256"),
        (None, (images, other), r"other\.safetensors: its first layer has 5 input channels: give"),
        (
            None,
            (flow, None),
            r"flow\.safetensors: its first layer has 20 input channels",
        ),
    ):
        with pytest.raises(InputError, match=message) as caught:
            find(ExtractorConfig(motion_weights_sha256=changed), *files)
        assert "\n" not in str(caught.value)
