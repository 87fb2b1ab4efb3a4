"""The pages are true where a program can tell: links, paths, commands, options, tables."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import tyro

from benchmarks import __main__ as benchmarks_command
from benchmarks.flop import count_matmul_flop
from docs import generate_tables
from v2s_jax.cli import main as v2s_command
from v2s_jax.config import PAPER, flat_fields
from v2s_jax.model import VideoToSound, forward, init_params, initial_carry

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
GUIDES = [ROOT / "README.md", ROOT / "docs" / "quickstart.md"]
"""Pages whose commands run, in this order and in one folder."""

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
SOURCE_PATH = re.compile(r"`((?:v2s_jax|benchmarks|tools|tests|docs|data)/[\w./-]+)`")
BASH_BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
DOTTED_OPTION = re.compile(r"--((?:model|training)\.[\w-]+)")
COMMANDS_WITHOUT_PARSER = ("build", "doctor")
COMMAND_TIMEOUT_SEC = 600


class ParsedError(Exception):
    """The arguments were valid; nothing ran."""


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def bash_lines(page: Path) -> list[str]:
    blocks = BASH_BLOCK.findall(page.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines()]


def simple_commands(text: str) -> list[list[str]]:
    """Split a line into the words of its commands, including those inside --command="..."."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            commands.append([])
            continue
        commands[-1].append(word)
        if word.startswith("--command="):
            commands[-1:-1] = simple_commands(word.removeprefix("--command="))
    return [words for words in commands if words]


def program_arguments() -> Iterator[Any]:
    """Yield the arguments of every `v2s` and `python -m benchmarks` command in the pages."""
    for page in PAGES:
        for line in bash_lines(page):
            for words in simple_commands(line):
                names = [Path(word).name for word in words]
                if "v2s" in names:
                    args = words[names.index("v2s") + 1 :]
                    yield pytest.param(
                        "v2s", args, id=f"{page_id(page)}: v2s {' '.join(args)[:60]}"
                    )
                elif words[1:3] == ["-m", "benchmarks"]:
                    args = words[3:]
                    yield pytest.param("benchmarks", args, id=f"{page_id(page)}: {' '.join(args)}")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        if target.startswith(("http:", "https:")):
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            headings = HEADING.findall(linked.read_text(encoding="utf-8"))
            anchors = {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in headings}
            assert anchor in anchors, f"{target}#{anchor}"
    for path in SOURCE_PATH.findall(text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(("program", "args"), list(program_arguments()))
def test_commands_parse(program, args, monkeypatch):
    parse = tyro.cli

    def parse_only(*args: Any, **kwargs: Any) -> None:
        parse(*args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.setattr(sys, "argv", [program, *args])
    if program == "v2s" and args[0] in COMMANDS_WITHOUT_PARSER:
        assert args[0] in v2s_command.COMMANDS
        return
    run = v2s_command.run_command if program == "v2s" else benchmarks_command.main
    with pytest.raises(ParsedError):
        run()


def test_config_options_in_the_text_exist():
    fields = {name.replace("_", "-") for name in flat_fields(PAPER)}
    for page in PAGES:
        options = set(DOTTED_OPTION.findall(page.read_text(encoding="utf-8")))
        assert options <= fields, page_id(page)


def test_tables_are_current():
    for page in generate_tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert generate_tables.refresh(text) == text, "run python docs/generate_tables.py"


def test_counted_flop_is_that_of_the_traced_program():
    """Traces the forward pass with `paper` sizes; computes nothing."""
    clips, chunk = PAPER.training.batch_clips, PAPER.training.chunk_samples
    model = VideoToSound(PAPER)
    features = jax.ShapeDtypeStruct((clips, 1, PAPER.model.appearance_dim), jnp.float32)
    levels = jax.ShapeDtypeStruct((clips, chunk), jnp.int32)
    params = jax.eval_shape(partial(init_params, model), jax.random.key(0))
    carry = jax.eval_shape(lambda params: initial_carry(model, params, clips), params)
    counted = count_matmul_flop(partial(forward, model), params, carry, levels, features)
    # The product of the frame tier's two input maps, once per chunk; the table leaves it out.
    fused_maps = 2 * PAPER.model.frame_size * PAPER.model.dim * 3 * PAPER.model.dim
    assert counted == 2 * generate_tables.multiply_adds() * clips * chunk + fused_maps


@pytest.mark.slow
def test_guides_run(tmp_path):
    """Run the `v2s` commands and the Python code of the guides, each once."""
    examples = tmp_path / "v2s_jax" / "examples"
    examples.mkdir(parents=True)
    (examples / "drum.mp4").write_bytes((ROOT / "v2s_jax" / "examples" / "drum.mp4").read_bytes())
    python = [sys.executable, "-P"]  # -P: `v2s_jax` is the package, not the folder made above
    lines = [line for page in GUIDES for line in bash_lines(page) if line.startswith("v2s ")]
    runs = [[*python, "-m", "v2s_jax", *shlex.split(line)[1:]] for line in dict.fromkeys(lines)]
    for page in GUIDES:
        code = PYTHON_BLOCK.findall(page.read_text(encoding="utf-8"))
        runs += [[*python, "-c", block.replace("out/python", f"out/{page.stem}")] for block in code]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    for run in runs:
        done = subprocess.run(
            run,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SEC,
        )
        assert done.returncode == 0, f"{run}\n{done.stdout}\n{done.stderr}"
    for output in ("out/mine/drum_sound.mp4", "out/drum.wav", "out/evaluated/report.json"):
        assert (tmp_path / output).stat().st_size > 0
