"""`make docs`: every public name can be documented, without a warning."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import v2s_jax

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_pages_are_written_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "docs.api", str(tmp_path)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    stages = {module.name for module in pkgutil.iter_modules(v2s_jax.__path__)} - {"commands"}
    pages = {page.stem for page in (tmp_path / "v2s_jax").glob("*.html")}
    assert stages == pages and (tmp_path / "data" / "prepare.html").exists()
    api = (tmp_path / "v2s_jax.html").read_text()
    assert 'id="sonify"' in api and 'id="stream"' in api
    assert "Samples of sound per second" in (tmp_path / "v2s_jax" / "config.html").read_text()
