"""Bad words at every door: one line that names them, exit code 2; --help as the parser has it."""

import sys
from collections.abc import Callable

import pytest

from data import prepare
from v2s_jax.commands import evaluate, sample, train
from v2s_jax.commands.door import run_door
from v2s_jax.commands.words import read_words

MAINS = {
    "sample.py": sample.main,
    "evaluate.py": evaluate.main,
    "train.py": train.main,
    "data.prepare": prepare.main,
}


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., tuple[int | str | None, str, str]]:
    """Run a door in this process; return exit code, stdout and stderr."""

    def door(program: str, words: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", [program, *words.split()])
        with pytest.raises(SystemExit) as ended:
            run_door(MAINS[program])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return door


BAD_WORDS = [
    ("sample.py", "--video v --out o --seed abc", "--seed: invalid literal", "abc"),
    ("sample.py", "--video v", "Missing from sample.py", "--out PATH"),
    ("sample.py", "--vdeo v --out o", "Missing from sample.py: --video", "--vdeo"),
    ("sample.py", "--video v --out o --sed 1", "Perhaps you meant: --seed;", "--sed"),
    ("evaluate.py", "--checkpoint c --data d --out o --clips many", "--clips", "many"),
    ("evaluate.py", "--checkpoint c --data d", "Missing from evaluate.py", "--out PATH"),
    ("train.py", "tinny --data d --workdir w", "tinny", "paper, demo, tiny"),
    ("train.py", "tiny --data d --workdir w --model.frame-size 3", "frame_size 3", "use 2 or 4"),
    ("train.py", "tiny --data d --workdir w --trainin.steps 4", "--trainin.steps", "--training."),
    ("train.py", "tiny --data d", "Missing from train.py", "--workdir PATH"),
    ("data.prepare", "", "Expected one of", "synthetic"),
    ("data.prepare", "sinthetic", "Unrecognized options: sinthetic", "synthetic, folder"),
    ("data.prepare", "synthetic", "Missing from python -m data.prepare", "--out PATH"),
    ("data.prepare", "synthetic --out o --workers all", "--workers: invalid literal", "all"),
]


@pytest.mark.parametrize(("program", "words", "problem", "detail"), BAD_WORDS)
@pytest.mark.parametrize("columns", ["60", "200"])  # of the terminal, by which the parser wraps
def test_bad_words(run, monkeypatch, program, words, problem, detail, columns):
    monkeypatch.setenv("COLUMNS", columns)
    code, out, err = run(program, words)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("--help\n")
    assert problem in err and detail in err
    assert not set("│─╭╰") & set(err)
    assert len(err) < 400
    assert not out


@pytest.mark.parametrize(
    ("program", "words", "shown"),
    [
        ("sample.py", "--help", "--temperature FLOAT"),
        ("evaluate.py", "--help", "--category STR"),
        ("train.py", "tiny --help", "--model.frame-size INT"),
        ("data.prepare", "--help", "leaves DIR/clips"),
        ("data.prepare", "synthetic --help", "Processes at work"),
    ],
)
def test_help_is_the_parsers(run, program, words, shown):
    code, out, err = run(program, words)
    assert code in (0, None)
    assert shown in out and "usage: " in out
    assert not err


def test_what_else_is_said_while_parsing_is_passed_on(capsys):
    def parse(prog: str, description: str | None) -> str:
        print(f"a word from {prog}", file=sys.stderr)
        return "read"

    assert read_words(parse, prog="sample.py", description=None) == "read"
    assert capsys.readouterr().err == "a word from sample.py\n"
