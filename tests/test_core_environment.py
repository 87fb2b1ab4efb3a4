"""The core, without extras, generates audio, trains and benchmarks; the rest names its extra.

The extras' packages are hidden from subprocesses. `.ci/run` runs the same in a real environment.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from v2s_jax.cli import doctor
from v2s_jax.datasets import open_dataset
from v2s_jax.examples import EXAMPLE_VIDEO
from v2s_jax.media import write_wav

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HIDE_EXTRAS = """
import sys

HIDDEN = {
    "apache_beam", "psutil",  # data
    "tensorflow", "mlcroissant",  # needed by nothing
    "keras", "h5py",  # vgg
    "librosa", "mir_eval", "sklearn", "krippendorff", "jinja2", "numba", "joblib", "pandas",  # eval
    "gradio",  # demo
    "gcsfs",  # gcp
    "s3fs",  # s3
}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Finder())
"""
"""A sitecustomize module: Python imports it at startup."""


@pytest.fixture
def run_core(tmp_path):
    """Run `python ARGS` in an empty directory, with the extras hidden."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE_EXTRAS)
    empty = tmp_path / "empty"
    empty.mkdir()
    path = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            capture_output=True,
            text=True,
        )

    return run


def test_sample(run_core, tmp_path):
    result = run_core("-m", "v2s_jax", "sample", "--video", EXAMPLE_VIDEO, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "drum_sound.wav").stat().st_size > 10_000


def test_train_on_existing_shards(run_core, tmp_path, fixture_dataset):
    result = run_core(
        *("-m", "v2s_jax", "train", "tiny", "--data", fixture_dataset, "--workdir", tmp_path),
        *("--training.steps", 1, "--training.steps-per-call", 1, "--training.batch-clips", 2),
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "params.safetensors").exists()


def test_recordings_become_a_dataset(run_core, tmp_path):
    """Nor does anything but Beam's extraction need an extra to write shards."""
    for name in ("hum/a.wav", "hum/b.wav", "hiss/a.wav", "hiss/b.wav"):
        path = tmp_path / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(sum(name.encode())).normal(0, 0.1, 32_000)
        write_wav(path, noise.astype(np.float32), 16_000)
    out = tmp_path / "out"
    result = run_core("-m", "v2s_jax", "prepare", "sounds", tmp_path / "recordings", "--out", out)
    assert result.returncode == 0, result.stderr
    assert len(open_dataset(out / "sounds" / "1.0.0", "train")) > 0


def test_benchmark(run_core):
    options = "--preset tiny --seconds 0.05 --repeats 1 --batch 1 --batch-size 1"
    result = run_core("-m", "benchmarks", "sampling", *options.split())
    assert result.returncode == 0, result.stderr
    assert "samples per sec" in result.stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("prepare folder videos --out out", "data"),
        ("evaluate --checkpoint frame --data data --out out", "eval"),
        ("study make --sounds a=x --videos videos --out out", "eval"),
        ("demo", "demo"),
    ],
)
def test_command_names_the_missing_extra(run_core, tmp_path, command, extra):
    result = run_core("-m", "v2s_jax", *command.split())
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert result.stderr.endswith(f"not installed: pip install 'v2s_jax[{extra}]'\n")
    assert not any((tmp_path / "empty").iterdir())


def test_extras_that_doctor_explains_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert doctor.EXTRAS.keys() < project["optional-dependencies"].keys()
