"""What a synthetic clip follows from is in the generator's digest, and nothing else is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from v2s_jax.datasets.synthetic.generator import CATEGORIES
from v2s_jax.datasets.synthetic.generator_hash import (
    HERE,
    MAKE_CLIPS,
    generator_hash,
    modules_that_make_clips,
)
from v2s_jax.media import encode as writing


def test_its_modules_are_those_that_python_loads_to_make_clips():
    code = f"""
import importlib, json, sys
for name in {MAKE_CLIPS}:
    importlib.import_module("v2s_jax.datasets.synthetic." + name)
print(json.dumps([name for name in sys.modules if name.startswith("v2s_jax.datasets.synthetic.")]))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE.parents[1], capture_output=True, check=True
    )
    loaded = {name.removeprefix("v2s_jax.datasets.synthetic.") for name in json.loads(said.stdout)}
    assert modules_that_make_clips() == loaded
    assert {*CATEGORIES, "probes", "drawing", "sound", "randomness"} <= loaded


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *((name, True) for name in ("drum", "story", "probes", "floor", "encoding")),
        *((name, False) for name in ("speed", "sheet", "baselines", "codes", "direct", "command")),
    ],
)
def test_it_changes_with_what_makes_clips_alone(name: str, counts: bool, tmp_path: Path):
    copy = shutil.copytree(HERE, tmp_path / "synthetic")
    assert generator_hash(copy) == generator_hash()
    with (copy / f"{name}.py").open("a") as source:
        source.write("# changed\n")
    assert (generator_hash(copy) != generator_hash()) == counts


@pytest.mark.parametrize("setting", ["_BY_RATE_FACTOR", "_INTRA_ONLY", "_CLIP_OUTPUT", "_TO_H264"])
def test_it_changes_with_the_encoders_settings(setting: str, monkeypatch: pytest.MonkeyPatch):
    before = generator_hash()
    changed = getattr(writing, setting)[1:]
    monkeypatch.setattr(writing, setting, changed)
    assert generator_hash() != before
