"""The embedding against the authors' network, and files that are no weights."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.evaluation.aisfx_golden import FIXTURE, RATE_HZ, random_tensors, waveforms
from tools import convert_aisfx
from v2s_jax.errors import InputError
from v2s_jax.evaluation.aisfx import BANDS, BLOCK, open_aisfx, spectrogram_blocks

TOLERANCE = {"random": 0.01, "original": 0.03}
"""Half precision of the weights: the largest differences are 0.003 of 8 and 0.023 of 7."""
WHEEL = os.environ.get("AISFX_WHEEL")


def embed(arrays: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    path = folder / "aisfx.safetensors"
    save_file(arrays, path)
    return open_aisfx(path).embed_all(waveforms(), RATE_HZ, "test sounds")


def assert_golden(vectors: list[np.ndarray], weights: str) -> None:
    golden = np.load(FIXTURE)
    assert [len(one) for one in vectors] == [1, 2]
    for clip, one in enumerate(vectors):
        np.testing.assert_allclose(
            one, golden[f"{weights}_{clip}"], atol=TOLERANCE[weights], rtol=0
        )


def test_vectors_equal_those_of_the_authors_network(tmp_path):
    assert_golden(embed(convert_aisfx.convert(random_tensors()), tmp_path), "random")


@pytest.mark.skipif(WHEEL is None, reason="AISFX_WHEEL names no wheel of aisfx 0.1.2")
def test_original_weights_equal_the_authors_network(tmp_path, monkeypatch):
    out = tmp_path / "converted.safetensors"
    monkeypatch.setattr(sys, "argv", ["convert", str(WHEEL), str(out)])
    convert_aisfx.main()
    assert_golden(open_aisfx(out).embed_all(waveforms(), RATE_HZ, "test sounds"), "original")


def test_silence_and_a_single_sample_are_one_block():
    for waveform in (np.zeros(16_000, np.float32), np.ones(1, np.float32)):
        blocks = spectrogram_blocks(waveform, 16_000)
        assert blocks.shape == (1, BLOCK, BANDS)
        assert np.isfinite(blocks).all()


def test_loudness_does_not_matter():
    (burst, _) = waveforms()
    np.testing.assert_allclose(
        spectrogram_blocks(burst, RATE_HZ), spectrogram_blocks(0.5 * burst, RATE_HZ), atol=1e-5
    )


def test_other_files_are_one_line(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match=r"x\.safetensors: cannot be read"):
        open_aisfx(path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"x\.safetensors: not a safetensors file") as caught:
        open_aisfx(path)
    assert "\n" not in str(caught.value)
    arrays = convert_aisfx.convert(random_tensors())
    kernel = arrays.pop("block_4_conv_2.kernel")
    save_file(arrays, path)
    with pytest.raises(InputError, match=r"block_4_conv_2\.kernel has shape None instead of \(3"):
        open_aisfx(path)
    save_file(arrays | {"block_4_conv_2.kernel": kernel[..., :5].copy()}, path)
    with pytest.raises(InputError, match=r"shape \(3, 3, 512, 5\).*convert_aisfx"):
        open_aisfx(path)
    save_file(arrays | {"block_4_conv_2.kernel": kernel * np.float16("nan")}, path)
    with pytest.raises(InputError, match="NaN or infinite"):
        open_aisfx(path)


def test_other_wheels_are_one_line(tmp_path):
    (tmp_path / "x.whl").write_bytes(b"no wheel")
    for name in ("x.whl", "missing.whl"):
        with pytest.raises(SystemExit, match=f"{name}: not the wheel of aisfx"):
            convert_aisfx.read_wheel(tmp_path / name)
