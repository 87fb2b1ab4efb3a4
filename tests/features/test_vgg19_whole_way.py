"""prepare, train and sample with vgg19, as a user types it, on two clips and random weights."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.datasets.folders.test_folder import video as write_video
from tests.vgg_weights import torch_weights, write_weights
from v2s_jax.checkpoints import load_params_file
from v2s_jax.datasets import open_dataset
from v2s_jax.features.vgg import VGG19

ROOT = Path(__file__).parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_prepare_train_sample():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_weights(folder / "vgg19.safetensors", torch_weights(VGG19))
        for number in range(2):
            write_video(folder / "videos" / "dog" / f"{number}.mp4", sec=0.8, tone_hz=300 + number)
        prepare = (
            f"-m v2s_jax.cli.prepare folder {folder}/videos --out {folder}/data --extractor vgg19"
        )
        made = run(
            folder, *prepare.split(), "--vgg19-weights", str(weights), "--video-frames", "12"
        )
        assert made.returncode == 0, made.stderr
        assert "1 train and 1 test clips" in made.stdout
        weights.unlink()  # the converted ones are found again
        data = open_dataset(folder / "data", "test")
        assert data.metadata["extractor"] == "vgg19"
        assert data.extraction.motion_origin == "cross_modality"
        assert data.extraction.flow == "dis"
        assert data[0].appearance.shape == data[0].motion.shape == (12, 4_096)
        assert data[0].appearance.any() and data[0].motion.any()
        words = f"train.py tiny --data {folder}/data --workdir {folder}/run --model.variant flow"
        refused = run(folder, *words.split())
        assert refused.returncode == 2
        assert "extractor is vgg19, the config wants pixels" in refused.stderr
        trained = run(folder, *words.split(), "--extractor", "vgg19")
        assert trained.returncode == 0, trained.stderr
        config, _ = load_params_file(folder / "run" / "params.safetensors")
        assert config.extraction == data.extraction
        video = folder / "videos" / "dog" / "1.mp4"
        words = f"sample.py --checkpoint {folder}/run --video {video} --out {folder}/out"
        sampled = run(folder, *words.split())
        assert sampled.returncode == 0, sampled.stderr
        assert (folder / "out" / "1_sound.wav").stat().st_size > 12 * 1_024 * 2
        other = write_weights(folder / "other.safetensors", torch_weights(VGG19, seed=1))
        refused = run(folder, *words.split(), "--overwrite", "--vgg19-weights", str(other))
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"error: {other}: weights with SHA-256")
        assert str(data.extraction.appearance_weights_sha256) in line
