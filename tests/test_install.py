"""Installed, the program has the same doors under one name, and nothing else is lost."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from v2s_jax import __version__, place
from v2s_jax.cli import main as doors
from v2s_jax.cli import sample
from v2s_jax.cli.run import run_cli

ROOT = Path(__file__).parents[1]


def run(capsys, monkeypatch, main, *argv: str) -> tuple[int | str | None, str, str]:
    """Run a door in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", list(argv))
    with pytest.raises(SystemExit) as ended:
        run_cli(main)
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_v2s_lists_its_doors(capsys, monkeypatch, words):
    code, out, err = run(capsys, monkeypatch, doors.open_door, "v2s", *words)
    assert code == 0 and not err
    lines = [line.split(maxsplit=1) for line in out.split("\n\n")[1].splitlines()]
    assert lines == [[name, door.told] for name, door in doors.DOORS.items()]
    assert [*doors.DOORS] == [*place.DOORS]
    assert out.endswith("drum.mp4 --out out/demo\n") and "\n  v2s sample --video " in out


def test_v2s_does_not_know_a_door(capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch, doors.open_door, "v2s", "smaple", "--help")
    assert code == 2 and not out and err.count("\n") == 1
    assert err.startswith("error: v2s smaple: unknown: did you mean sample? ")


def test_v2s_tells_its_version(capsys, monkeypatch):
    told = run(capsys, monkeypatch, doors.open_door, "v2s", "--version")
    assert told == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("name", doors.DOORS)
def test_every_door_opens(capsys, monkeypatch, name):
    """Those without words of their own are opened where nothing is found or made."""
    monkeypatch.setattr("v2s_jax.cli.doctor.CHECKS", ())
    monkeypatch.setattr("v2s_jax.kernels.build.build", lambda: "sampler.so")
    code, out, err = run(capsys, monkeypatch, doors.open_door, "v2s", name, "--help")
    assert code in (0, None) and not err
    assert {"doctor": "ready", "build": "sampler.so"}.get(name, "usage: ") in out


def test_sample_without_words_explains_itself_and_offers_the_demo(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, err = run(capsys, monkeypatch, sample.main, "sample.py")
    assert code == 0 and not err and len(out.splitlines()) < 16
    assert "\n  python sample.py --video examples/drum.mp4 --out out/demo\n" in out
    assert (ROOT / "examples" / "drum.mp4").samefile(place.EXAMPLE)


@pytest.mark.parametrize(
    ("in_checkout", "called", "typed", "text"),
    [
        (
            True,
            "train.py --help",
            "python train.py --help",
            "sample.py, v2s prepare x",
        ),
        (False, "v2s train --help", "v2s train --help", "v2s sample, v2s prepare x"),
    ],
)
def test_doors_are_called_as_they_are_there(monkeypatch, in_checkout, called, typed, text):
    monkeypatch.setattr(place, "IN_CHECKOUT", in_checkout)
    assert (place.called("train --help"), place.typed("train --help")) == (called, typed)
    assert place.as_called("sample.py, v2s prepare x") == text
    assert place.as_called(None) is None


def test_a_path_with_blanks_is_typed_in_quotes(monkeypatch, tmp_path):
    monkeypatch.setattr(place, "EXAMPLE", tmp_path / "my videos" / "drum.mp4")
    assert f"'{tmp_path}/my videos/drum.mp4'" in place.demo_words()


def test_data_imports_its_own_relatively():
    """Installed it is called `v2s_jax_data`."""
    for path in (ROOT / "data").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            assert all(name.partition(".")[0] != "data" for name in names), (path, node.lineno)


def test_extras_are_of_packages_whose_versions_are_bounded():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (line.partition("#")[0] for line in (ROOT / "requirements.txt").read_text().split("\n"))
    bounded = {Requirement(line).name for line in lines if line.strip()}
    for extra in project["optional-dependencies"].values():
        assert {Requirement(one).name for one in extra} <= bounded


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the tree: a build leaves folders beside the sources."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    hidden = shutil.ignore_patterns(".*", "out", "runs", "datasets", "report", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=hidden)
    shutil.rmtree(tree / "build", ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "-w", str(tree.parent), str(tree)], check=True, capture_output=True)
    (made,) = tree.parent.glob("*.whl")
    return made


def sources(folder: str) -> set[Path]:
    """Every file of a folder of the tree, from there."""
    found = (ROOT / folder).rglob("*")
    return {
        path.relative_to(ROOT / folder)
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_wheel_holds_the_tree_and_no_package_data(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = {Path(name) for name in file.namelist() if ".dist-info/" not in name}
        metadata = file.read(f"v2s_jax-{__version__}.dist-info/METADATA").decode()
    wanted = {Path("v2s_jax") / path for path in sources("v2s_jax")}
    wanted |= {Path("v2s_jax_data") / path for path in sources("data") if path.suffix != ".md"}
    wanted |= {Path("v2s_jax/examples") / path for path in sources("examples")}
    assert held == wanted
    required = {line for line in metadata.splitlines() if line.startswith("Requires-Dist: jax")}
    assert {"Requires-Dist: jax<0.13,>=0.10.2"} <= required


@pytest.mark.slow
def test_what_is_installed_works_far_from_the_tree(wheel, tmp_path):
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target"]
    subprocess.run([*pip, str(target), str(wheel)], check=True, capture_output=True)
    here = {"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "HOME": str(empty)}

    def v2s(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(target / "bin" / "v2s"), *words]
        return subprocess.run(
            command, cwd=empty, env=os.environ | here, capture_output=True, text=True
        )

    def works(*words: str) -> str:
        ended = v2s(*words)
        assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    example = target / "v2s_jax" / "examples" / "drum.mp4"
    assert f"  v2s sample --video {example} --out out/demo\n" in works()
    works("sample", "--video", str(example), "--out", "out/demo")
    assert {path.name for path in (empty / "out" / "demo").iterdir()} == {
        *("drum_sound.wav", "drum_sound.mp4", "drum_sound.png")
    }
    told = works("doctor")
    assert told.endswith("\nready\n") and "ok        packages: all" in told
    refused = v2s("train", "tiny", "--data", "nowhere", "--workdir", "run")
    assert refused.returncode == 2
    assert "make one with `v2s prepare synthetic --out nowhere`" in refused.stderr
    made = works("prepare", "synthetic", "--preset", "pair", "--out", "made", "--workers", "1")
    assert "1 train and 1 test clips" in made
    assert not (target / "data").exists() and not (target / "tests").exists()
