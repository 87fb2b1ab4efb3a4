"""The wheel holds all that the package needs, and works far from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip"]
OFFLINE = ["--no-index", "--no-build-isolation", "--no-deps"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the checkout, since a build leaves folders in the sources."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    shutil.copytree(
        ROOT / "v2s_jax", tree / "v2s_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run(
        [*PIP, "wheel", *OFFLINE, "-w", str(tree.parent), str(tree)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tree.parent.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    """Sources, pretrained models, example video, web pages, C++ sources."""
    with zipfile.ZipFile(wheel) as file:
        names = {Path(name) for name in file.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT)
        for path in (ROOT / "v2s_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected
    suffixes = {path.suffix for path in names}
    assert {".py", ".safetensors", ".mp4", ".html", ".css", ".cc", ".typed"} <= suffixes


@pytest.mark.slow
def test_the_installed_package_works_in_an_empty_directory(wheel, tmp_path):
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    install = [*PIP, "install", "--no-index", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    env = {"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "HOME": str(empty)}

    def v2s(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(target / "bin" / "v2s"), *args]
        return subprocess.run(
            command, cwd=empty, env=os.environ | env, capture_output=True, text=True
        )

    example = target / "v2s_jax" / "examples" / "drum.mp4"
    assert str(example) in v2s("sample").stdout
    process = v2s("sample", "--video", str(example), "--out", "out")
    assert process.returncode == 0, process.stderr
    assert {path.name for path in (empty / "out").iterdir()} == {
        *("drum_sound.wav", "drum_sound.mp4", "drum_sound.png")
    }
    bad = v2s("train", "tiny", "--data", "nowhere", "--workdir", "run")
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: ") and bad.stderr.count("\n") == 1
