"""prepare, train and sample with vgg19 on two clips and random weights."""

import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.vgg_weights import torch_weights, write_weights
from v2s_jax.checkpoints import load_params_file
from v2s_jax.datasets import open_dataset
from v2s_jax.features.vgg import VGG19
from v2s_jax.media import write_clip

ROOT = Path(__file__).parents[2]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def write_video(path: Path, tone_hz: float) -> None:
    """0.8 s of noise and a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
    tone = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(12_800) / 16_000)
    write_clip(path, frames, Fraction(25), tone.astype(np.float32), 16_000)


@pytest.mark.slow
def test_prepare_train_sample():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_weights(folder / "vgg19.safetensors", torch_weights(VGG19))
        for number in range(2):
            write_video(folder / "videos" / "dog" / f"{number}.mp4", tone_hz=300 + number)
        prepare = f"-m v2s_jax prepare folder {folder}/videos --out {folder}/data --extractor vgg19"
        prepared = run(
            folder, *prepare.split(), "--vgg19-weights", str(weights), "--video-frames", "12"
        )
        assert prepared.returncode == 0, prepared.stderr
        assert "1 train and 1 test clips" in prepared.stdout
        weights.unlink()  # the cache has the converted ones
        data = open_dataset(folder / "data", "test")
        assert data.metadata["extractor"] == "vgg19"
        assert data.extraction.motion_origin == "cross_modality"
        assert data.extraction.flow == "dis"
        assert data[0].appearance.shape == data[0].motion.shape == (12, 4_096)
        assert data[0].appearance.any() and data[0].motion.any()
        args = (
            f"-m v2s_jax train tiny --data {folder}/data --workdir {folder}/run "
            "--model.variant flow"
        )
        rejected = run(folder, *args.split())
        assert rejected.returncode == 2
        assert "extractor is vgg19, the config" in rejected.stderr
        args += " --training.eval-split test"
        trained = run(folder, *args.split(), "--extractor", "vgg19")
        assert trained.returncode == 0, trained.stderr
        config, _ = load_params_file(folder / "run" / "params.safetensors")
        assert config.extraction == data.extraction
        video = folder / "videos" / "dog" / "1.mp4"
        args = f"-m v2s_jax sample --checkpoint {folder}/run --video {video} --out {folder}/out"
        sampled = run(folder, *args.split())
        assert sampled.returncode == 0, sampled.stderr
        assert (folder / "out" / "1_sound.wav").stat().st_size > 12 * 1_024 * 2
        other = write_weights(folder / "other.safetensors", torch_weights(VGG19, seed=1))
        rejected = run(folder, *args.split(), "--overwrite", "--vgg19-weights", str(other))
        assert rejected.returncode == 2
        (line,) = rejected.stderr.splitlines()
        assert line.startswith(f"error: {other}: weights with SHA-256")
        assert str(data.extraction.appearance_weights_sha256) in line
