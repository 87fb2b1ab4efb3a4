"""The README and its guides are true: their commands run, their links lead somewhere, the map is
the tree."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("sampling", "training", "speed")]
"""Read after the README: their commands go on in the folders that its commands have left."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "data" / "README.md"]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
LONG = "<!-- long: the test runs them with the tiny preset -->\n"
AS_IN_TINY = "steps|decay-steps|warmup-steps|evaluate-every-steps|chunk-samples|updates-per-call"
"""Options that the long commands leave to the tiny preset."""
COMMAND_SEC = 240


def commands(text: str) -> list[str]:
    """The lines of the text's bash blocks."""
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]


def long_commands() -> list[str]:
    after = README.split(LONG)[1]
    return commands(after[: after.index("```\n", 8) + 4])


def all_commands() -> list[str]:
    """The commands of the README, then of its guides."""
    return [line for page in (ROOT / "README.md", *GUIDES) for line in commands(page.read_text())]


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, as a browser of repositories writes them."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        to = page.parent / target if target else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), f"{target}#{anchor}"


def test_every_kind_of_command_is_known():
    for line in all_commands():
        assert line.startswith(("python ", "make ", ". .venv/")), line
    for target in re.findall(r"make ([\w-]+)$", "\n".join(all_commands()), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_map_names_what_is_there():
    drawn = README.split("## Map")[1].split("```")[1]
    for name in re.findall(r"[\w./]+(?:\.py|\.md|/)", drawn):
        assert any((ROOT / part / name).exists() for part in (".", "v2s_jax", "data")), name
    package = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "v2s_jax").iterdir()
        if not path.name.startswith("__")
    }
    assert all(name in drawn for name in package | {"commands/"})


@pytest.mark.slow
def test_commands_run_in_order_as_written(tmp_path):
    """In a copy of the tree; the long ones with tiny in the place of demo, for as many updates as
    it has, and one clip of each category evaluated."""
    tree = tmp_path / "tree"
    hidden = shutil.ignore_patterns(".*", "out", "runs", "datasets", "report", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=hidden)
    shutil.copytree(
        ROOT / "v2s_jax" / "checkpoints", tree / "v2s_jax/checkpoints", dirs_exist_ok=True
    )
    long = set(long_commands())
    lines = [line for line in all_commands() if line.startswith("python ")]
    assert len(lines) == 23 and len(long) == 5
    for line in lines:
        if line in long:
            line = line.replace("--preset demo", "--preset tiny").replace("py demo", "py tiny")
            line = re.sub(rf" --training\.(?:{AS_IN_TINY}) \d+", "", line)
            line = line.replace("--clips 32", "--clips 1")
        words = shlex.split(line)
        ended = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=tree,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            timeout=COMMAND_SEC,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
    for made in (
        "out/mine/drum_sound.mp4",
        "out/drum.wav",
        "out/takes/drum_sound_2.mp4",
        "out/tiny/drum-test-00000_sound.wav",
        "out/flow/drum-test-00001_sound.wav",
        "runs/direct/params.safetensors",
        "runs/tiny/params.safetensors",
        "runs/seq/params.safetensors",
        "runs/demo-flow/params.safetensors",
        "out/evaluated/report.json",
        "report/report.json",
        "out/study/real-or-fake.html",
    ):
        assert (tree / made).stat().st_size > 0
