"""`v2s doctor` finds what is missing, says how to fix it, and never ends with a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from v2s_jax.cli import doctor

ROOT = Path(__file__).parents[2]


def test_ready_machine(run_command):
    code, out, _ = run_command(doctor.main)
    assert code == 0, out
    assert out.endswith("\nready\n")
    for name in ("Python", "packages", "devices", "ffmpeg", "checkpoint", "cache"):
        assert f"ok        {name}: " in out


def test_without_any_package():
    command = [sys.executable, "-S", "-m", "v2s_jax.cli.doctor"]  # -S hides site-packages
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == doctor.MISSING_CODE
    assert "Traceback" not in result.stderr
    assert "missing   devices: cannot be checked: No module named 'jax'" in result.stdout
    assert "fix: " in result.stdout and "-m pip install v2s_jax" in result.stdout


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("no-such-package>=1", "no-such-package is missing"),
        ("numpy<1", "is not <1"),
        ("numpy>=1", None),
        ('no-such-package>=1; python_version < "3"', None),
        ('no-such-package>=1; extra == "eval"', None),
    ],
)
def test_packages(monkeypatch, requirement, problem):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: [requirement])
    (finding,) = doctor.packages()
    assert (finding.state == "ok") == (problem is None)
    assert (problem or "of the core") in finding.result
    assert problem is None or f"-m pip install '{requirement}'" in (finding.fix or "")


def test_extras(monkeypatch):
    requirements = ["numpy>=1", 'no-such-package>=1; extra == "eval"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: requirements)
    findings = {finding.name: finding for finding in doctor.extras()}
    assert findings["extra demo"].state == "ok"
    assert findings["extra eval"].state == "optional"
    assert "v2s evaluate" in findings["extra eval"].result
    assert (findings["extra eval"].fix or "").endswith("pip install 'v2s_jax[eval]'")


def test_broken_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    (finding,) = doctor.ffmpeg()
    assert finding.state == "missing" and "unset IMAGEIO_FFMPEG_EXE" in (finding.fix or "")


def test_corrupt_checkpoint_and_missing_weights(monkeypatch, tmp_path):
    path = tmp_path / "demo.safetensors"
    path.write_bytes(b"corrupt")
    monkeypatch.setattr(doctor, "PRETRAINED", {"demo": path})
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    checkpoint, vgg19 = doctor.weights()
    assert checkpoint.state == "missing" and (checkpoint.fix or "").endswith("is corrupt")
    assert vgg19.state == "optional"
    assert f"as {tmp_path}/models/vgg19_weights" in (vgg19.fix or "")
    path.unlink()
    checkpoint, _ = doctor.weights()
    assert checkpoint.state == "missing" and (checkpoint.fix or "").endswith("is missing")


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    here, cache, _ = doctor.disk()
    assert here.state == "ok" and cache.state == "missing"


def test_full_disk(monkeypatch):
    monkeypatch.setattr(doctor, "MIN_DISK_GB", 10.0**9)
    assert {finding.fix for finding in doctor.disk()} == {"free 1e+09 GB"}


def test_accelerator_that_jax_does_not_see(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    findings = {finding.name: finding for finding in doctor.devices()}
    assert findings["GPU"].state == "optional" and "jax[cuda12]" in (findings["GPU"].fix or "")


def test_failing_check_is_a_finding(run_command, monkeypatch):
    def devices():
        raise OSError("driver\nmismatch")

    monkeypatch.setattr(doctor, "CHECKS", (devices,))
    code, out, err = run_command(doctor.main)
    assert (code, err) == (doctor.MISSING_CODE, "")
    assert out.startswith("missing   devices: check failed: OSError: driver\n")
