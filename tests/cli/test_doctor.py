"""python -m v2s_jax.cli.doctor finds what is wrong, and names the mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from v2s_jax.cli import doctor

ROOT = Path(__file__).parents[2]


def test_a_whole_machine_is_ready():
    command = [sys.executable, "-m", "v2s_jax.cli.doctor"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("\nready\n")
    for what in ("Python", "packages", "devices", "ffmpeg", "checkpoint", "cache"):
        assert f"ok        {what}: " in ended.stdout


def test_without_any_package_it_still_tells():
    """-S hides what pip installed."""
    command = [sys.executable, "-S", "-m", "v2s_jax.cli.doctor"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == doctor.LACKING_CODE
    assert "Traceback" not in ended.stderr
    assert "lacking   devices: cannot be checked: No module named 'jax'" in ended.stdout
    assert "-m pip install -r" in ended.stdout and "ok        this folder" in ended.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("no-such-package>=1", "no-such-package is missing"),
        ("numpy<1  # a remark", "is not <1"),
        ("numpy>=1", None),
        ('no-such-package>=1; python_version < "3"', None),
    ],
)
def test_packages(tmp_path, line, says):
    path = tmp_path / "requirements.txt"
    path.write_text(f"# a remark\n\n{line}\n")
    (finding,) = doctor.packages(path)
    assert (finding.state == "ok") == (says is None)
    assert (says or "in tested versions") in finding.found
    assert says is None or f"-m pip install -r {path}" in (finding.mend or "")


def test_a_broken_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    (finding,) = doctor.ffmpeg()
    assert finding.state == "lacking" and "unset IMAGEIO_FFMPEG_EXE" in (finding.mend or "")


def test_a_damaged_checkpoint_and_missing_weights(monkeypatch, tmp_path):
    (tmp_path / "demo.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(doctor, "SHIPPED", {"demo": tmp_path / "demo.safetensors"})
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    checkpoint, vgg19 = doctor.weights()
    assert checkpoint.state == "lacking" and (checkpoint.mend or "").endswith("is damaged")
    assert vgg19.state == "optional"
    assert f"as {tmp_path}/models/vgg19_weights" in (vgg19.mend or "")
    (tmp_path / "demo.safetensors").unlink()
    checkpoint, _ = doctor.weights()
    assert checkpoint.state == "lacking" and (checkpoint.mend or "").endswith("is missing")


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    here, cache, _ = doctor.disk()
    assert here.state == "ok" and cache.state == "lacking"


def test_little_room(monkeypatch):
    monkeypatch.setattr(doctor, "DISK_NEEDED_GB", 10.0**9)
    assert {finding.mend for finding in doctor.disk()} == {"free 1e+09 GB"}


def test_an_accelerator_that_jax_does_not_see(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = {finding.what: finding for finding in doctor.devices()}
    assert found["GPU"].state == "optional" and "jax[cuda12]" in (found["GPU"].mend or "")
