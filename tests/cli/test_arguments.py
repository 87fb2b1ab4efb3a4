"""The command line: lists in every form, positional arguments anywhere, nothing dropped."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro

from v2s_jax.cli.annotate import MergeArgs
from v2s_jax.cli.arguments import options_of, parse_args, parse_subcommand
from v2s_jax.cli.demo import DemoArgs
from v2s_jax.cli.evaluate import EvaluateArgs
from v2s_jax.cli.sample import SampleArgs
from v2s_jax.cli.study import MakeArgs, ScoreArgs
from v2s_jax.errors import InputError


@dataclass(frozen=True)
class Inner:
    """Options of a group."""

    gain: float = 0.0
    """A number."""


@dataclass(frozen=True)
class Outer:
    """A command."""

    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Positional."""
    video: tuple[str, ...] = ()
    """A list."""
    seed_value: int = 0
    """One value."""
    fast: bool = False
    """A switch."""
    inner: Inner = field(default_factory=Inner)
    """A group."""


def parse(monkeypatch, *args: str) -> Outer:
    monkeypatch.setattr(sys, "argv", ["v2s", *args])
    return parse_args(Outer, "v2s", None)


@pytest.mark.parametrize(
    "args",
    [
        ("--video", "a", "b", "--video", "c"),
        ("--video", "a", "--video", "b", "--video", "c"),
        ("--video=a", "--video", "b", "c"),
        ("--video", "a", "--fast", "--video", "b", "--seed-value", "3", "--video=c"),
    ],
)
def test_lists(monkeypatch, args):
    assert parse(monkeypatch, *args).video == ("a", "b", "c")


def test_positional_arguments_stand_anywhere(monkeypatch):
    args = parse(
        monkeypatch, "x", "--seed_value", "-3", "y", "--fast", "z", "--gain", "-6", "--", "-w"
    )
    assert args == Outer(tuple(map(Path, ("x", "y", "z", "-w"))), (), -3, True, Inner(-6.0))
    assert parse(monkeypatch, "--video", "-", "-1").video == ("-", "-1")


def test_one_value_given_twice_is_an_error(monkeypatch):
    with pytest.raises(InputError, match=r"--seed-value: given twice \(1, 2\): give it once"):
        parse(monkeypatch, "--seed-value", "1", "--seed_value=2")
    with pytest.raises(InputError, match="--gain: given twice"):
        parse(monkeypatch, "--gain", "1", "--gain", "1")


def test_every_list_of_the_commands_is_known():
    lists = {
        SampleArgs: {"--video"},
        DemoArgs: {"--checkpoint"},
        MergeArgs: {"--votes"},
        EvaluateArgs: {"--checkpoint", "--category", "--parts"},
        MakeArgs: {"--sounds"},
        ScoreArgs: {"--answers"},
    }
    for kind, expected in lists.items():
        assert {name for name, count in options_of(kind).items() if count == "many"} == expected


def test_subcommands():
    votes = ["--votes", "a", "b", "--work", "w", "--votes", "c", "--out", "o"]
    kinds = {"merge": MergeArgs, "score": ScoreArgs}
    args = parse_subcommand(kinds, "v2s annotate", None, ["merge", "raw", *votes])
    assert args == MergeArgs(Path("raw"), Path("w"), (Path("a"), Path("b"), Path("c")), Path("o"))
