"""Weights: every kind of file gives the same; what cannot be used is one line."""

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from tests.vgg_weights import SMALL, keras_weights, timm_weights, torch_weights, write_weights
from v2s_jax.config import ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features import weights
from v2s_jax.features.vgg19 import find_vgg19_weights
from v2s_jax.features.weights import Weights, find_weights
from v2s_jax.io import cache_dir

TORCH = torch_weights(SMALL)
KERAS = keras_weights(TORCH, SMALL)
# As keras.applications has them, as Keras 3 saves them by number, and as in a saved model.
LEGACY = {
    f"{layer}/{layer}_{'W' if role == 'kernel' else 'b'}_1:0": array
    for (layer, role), array in ((name.split("/"), array) for name, array in KERAS.items())
}
CONVOLUTIONS = [name for name in KERAS if name.startswith("block") and name.endswith("kernel")]
NUMBERED = {
    f"layers/{'dense' if layer == 'fc1' else names[layer]}/vars/{int(role == 'bias')}": array
    for names in [
        {
            name.split("/")[0]: f"conv2d_{number}" if number else "conv2d"
            for number, name in enumerate(CONVOLUTIONS)
        }
    ]
    for (layer, role), array in ((name.split("/"), array) for name, array in KERAS.items())
}
IN_MODEL = {f"model_weights/{name.split('/')[0]}/vgg19/{name}": a for name, a in KERAS.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def find(path: Path | None, wanted: str | None = None) -> Weights:
    return find_weights(path, wanted, option="--vgg19-weights", known=(SMALL,))


def refused(path: Path | None, message: str, wanted: str | None = None) -> str:
    with pytest.raises(InputError, match=message) as caught:
        find(path, wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("torchvision.safetensors", TORCH),
        ("torchvision.npz", {f"module.{name}": array for name, array in TORCH.items()}),
        ("timm.safetensors", timm_weights(TORCH, SMALL)),
        ("keras.npz", KERAS),
        ("legacy.h5", LEGACY),
        ("numbered.weights.h5", NUMBERED),
        ("model.h5", IN_MODEL),
    ],
)
def test_every_kind_of_file_holds_the_same(folder, name, arrays):
    above = {"classifier.3.weight": np.ones((2, 2)), "fc2/kernel": np.ones((2, 2))}
    found = find(write_weights(folder / name, {**arrays, **above}))
    assert found.preprocessing == (
        "caffe" if arrays in (KERAS, LEGACY, NUMBERED, IN_MODEL) else "torchvision"
    )
    loaded = found.load()
    for key, array in KERAS.items():
        layer, role = key.split("/")
        ours = layer.replace("block", "conv").replace("_conv", "_").replace("fc1", "fc6")
        np.testing.assert_array_equal(loaded.pop(f"{ours}.{role}"), array)
    assert not loaded


def test_the_digest_is_of_the_numbers_and_their_preprocessing(folder):
    digests = {
        find(write_weights(folder / name, arrays, **says)).sha256
        for name, arrays, says in (
            ("a.safetensors", TORCH, {}),
            ("b.npz", timm_weights(TORCH, SMALL), {}),
            ("c.h5", KERAS, {"preprocessing": "torchvision"}),
        )
    }
    assert len(digests) == 1
    caffe = find(write_weights(folder / "d.npz", KERAS))
    said = find(write_weights(folder / "e.safetensors", TORCH, preprocessing="caffe"))
    assert caffe.sha256 == said.sha256 not in digests
    assert caffe.preprocessing == said.preprocessing == "caffe"
    changed = {**TORCH, "classifier.0.bias": TORCH["classifier.0.bias"] + np.float32(1e-6)}
    assert find(write_weights(folder / "f.npz", changed)).sha256 not in {caffe.sha256, *digests}


def test_half_precision_weights_are_widened(folder):
    halves = {name: array.astype(np.float16) for name, array in TORCH.items()}
    loaded = find(write_weights(folder / "half.safetensors", halves)).load()
    assert all(array.dtype == np.float32 for array in loaded.values())
    np.testing.assert_array_equal(loaded["fc6.bias"], halves["classifier.0.bias"])


def test_weights_are_converted_once_and_found_again_without_their_file(folder):
    path = write_weights(folder / "w.npz", TORCH)
    first = find(path)
    converted_at = first.path.stat().st_mtime_ns
    assert find(path) == first
    moved = path.rename(folder / "elsewhere.npz")
    assert find(moved) == first
    moved.unlink()
    assert find(None, first.sha256) == first
    assert first.path.stat().st_mtime_ns == converted_at
    assert [found.parent for found in cache_dir().iterdir()] == [first.path.parent]


def test_a_damaged_neighbour_hides_no_weights(folder, caplog):
    found = find(write_weights(folder / "w.npz", TORCH))
    damaged = found.path.with_name("0.safetensors")
    damaged.write_bytes(b"damaged")
    assert find(None, found.sha256) == found
    assert str(damaged) in caplog.text and "delete it" in caplog.text


def test_other_weights_than_those_wanted_are_refused(folder):
    path = write_weights(folder / "w.npz", TORCH)
    told = refused(path, r"w\.npz: weights with SHA-256 \w{64}, wanted are a{64}", "a" * 64)
    assert told.endswith("give those with --vgg19-weights")


def test_damaged_converted_weights_are_named(folder):
    found = find(write_weights(folder / "w.npz", TORCH))
    data = bytearray(found.path.read_bytes())
    data[-1] ^= 1
    found.path.write_bytes(data)
    with pytest.raises(InputError, match=r"its SHA-256 differs\): delete it") as caught:
        found.load()
    assert str(found.path) in str(caught.value)
    found.path.write_bytes(data[:100])
    refused(folder / "w.npz", "damaged converted weights")
    found.path.unlink()
    assert find(folder / "w.npz") == found


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in TORCH.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("w.npz", without("classifier.0.weight", "classifier.0.bias"), "wanted are all of small"),
        ("w.npz", without("classifier.0.bias"), r"fc6\.bias has shape None, small wants \(11,\)"),
        ("w.npz", torch_weights(SMALL._replace(fc6_dim=12)), r"fc6\.kernel has shape \(28, 12\)"),
        (
            "w.safetensors",
            torch_weights(SMALL._replace(convolutions=(2, 2, 3, 3, 3))),
            "holds the layers conv1_1, .* top included",
        ),
        ("w.npz", {"conv.weight": np.ones(3)}, "holds no VGG weights in names of torchvision"),
        ("w.npz", {}, "holds no VGG weights"),
        (
            "w.npz",
            {name: array[..., 0, 0] if array.ndim == 4 else array for name, array in TORCH.items()},
            r"conv1_1\.kernel has shape \(3, 3\), small wants",
        ),
        (
            "w.npz",
            {**TORCH, "classifier.0.weight": np.ones((0, 28), np.float32)},
            r"fc6\.kernel has shape \(0, 28\)",
        ),
        ("w.npz", {**TORCH, "features.0.bias": np.array(["a"])}, "bias holds no array of numbers"),
        ("w.h5", {**KERAS, "fc1/bias": np.array(b"text")}, "fc1/bias holds no array of numbers"),
        (
            "w.npz",
            {**TORCH, "features.0.bias": np.full(3, 1e300)},
            r"conv1_1\.bias holds NaN or infinity",
        ),
        (
            "w.npz",
            {**TORCH, "features.0.bias": np.full(3, np.nan, np.float32)},
            r"conv1_1\.bias holds NaN or infinity",
        ),
    ],
)
def test_files_that_are_not_the_network_s(folder, name, arrays, message):
    refused(write_weights(folder / name, arrays), message)
    assert not list(cache_dir().glob("*")) if cache_dir().exists() else True


def test_a_preprocessing_that_is_not_known(folder):
    refused(write_weights(folder / "w.npz", TORCH, preprocessing="bgr"), "preprocessing bgr: use")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", None])
def test_damaged_files(folder, suffix, content):
    path = write_weights(folder / f"w{suffix}", KERAS)
    path.write_bytes(path.read_bytes()[:-1_000] if content is None else content)
    refused(path, rf"w\{suffix}: (weights that cannot be read|holds|fc6|conv)")


def test_one_array_under_the_name_of_many(folder):
    with (folder / "w.npz").open("wb") as file:
        np.save(file, np.ones(3))
    refused(folder / "w.npz", r"w\.npz: weights that cannot be read \(one array alone")


@pytest.mark.parametrize("place", [40, 2_000, -60, -40, -30])
def test_damaged_compressed_files(folder, place):
    path = folder / "w.npz"
    np.savez_compressed(path, **TORCH)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\1\2") if place < 0 else 0
    for offset in range(8):
        data[start + abs(place) + offset - 30 * (place < 0)] ^= 0xFF
    path.write_bytes(data)
    refused(path, r"w\.npz: (weights that cannot be read|holds|fc6|conv)")


def test_a_full_disk_while_converting(folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Io(No space left on device)")

    monkeypatch.setattr(weights, "save_file", full)
    refused(write_weights(folder / "w.npz", TORCH), "cannot be written .*No space left")
    assert not list(cache_dir().iterdir())


def test_paths_that_hold_no_weights(folder):
    refused(folder / "none.h5", r"none\.h5: no such file")
    refused(folder, "no such file")
    (folder / "w.pth").write_bytes(b"x")
    refused(folder / "w.pth", r"unknown kind of file: give \.safetensors, \.h5 or \.npz")


def test_without_network_one_line_says_what_to_put_where_and_tensorflow_stays_out(folder):
    program = """
import sys
from v2s_jax.cli.run import run_door
from v2s_jax.features.extractor import ExtractorSpec, resolved
def main():
    try:
        resolved(ExtractorSpec("vgg19"))
    finally:
        assert "tensorflow" not in sys.modules and "torch" not in sys.modules
run_door(main)
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
    assert error.startswith("error: the VGG19 weights are not here and could not be downloaded")
    assert f"download {weights.KERAS_URL} and put it as {folder / 'keras' / 'models'}" in error
    assert error.endswith("or give a file with --vgg19-weights")
    assert "Traceback" not in ended.stderr


def test_the_original_weights_are_taken_from_where_keras_keeps_them(folder, monkeypatch):
    kept = folder / "keras" / "models" / weights.KERAS_FILE
    kept.parent.mkdir(parents=True)
    write_weights(kept, LEGACY)
    md5 = hashlib.md5(kept.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "KERAS_MD5", md5)
    found = find(None)
    assert found.preprocessing == "caffe"
    assert find(None, found.sha256) == found


def test_motion_s_weights_are_those_wanted_or_appearance_s(folder):
    find = partial(find_vgg19_weights, spatial=SMALL, temporal=(SMALL,))
    seen = write_weights(folder / "seen.npz", TORCH)
    flow = write_weights(folder / "flow.npz", torch_weights(SMALL, seed=1, channels=20))
    other = write_weights(folder / "other.npz", torch_weights(SMALL, seed=2, channels=5))
    shared = find(ExtractorConfig(), seen, None)
    assert shared.motion == shared.appearance and shared.motion_origin == "cross_modality"
    own = find(ExtractorConfig(), seen, flow)
    assert own.motion_origin == "flow_weights"
    wanted = ExtractorConfig(motion_weights_sha256=own.motion.sha256)
    assert find(wanted, seen, None) == own  # converted before
    for changed, files, message in (
        ("b" * 64, (seen, None), "motion weights with SHA-256 b{64}, .* --motion-weights"),
        ("b" * 64, (seen, flow), r"flow\.npz: weights with SHA-256"),
        (None, (seen, other), r"other\.npz: its first layer reads 5 channels: give"),
        (None, (flow, None), r"flow\.npz: its first layer reads 20 channels, pictures have 3"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            find(ExtractorConfig(motion_weights_sha256=changed), *files)
        assert "\n" not in str(caught.value)
