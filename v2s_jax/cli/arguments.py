"""Parsing of the command line: what tyro does, with lists in any form.

`--video A --video B`, `--video A B` and `--video=A --video=B` are the same list. Positional
arguments may stand anywhere, also between options. An option that takes one value and is given
twice is an error, not silently the last one.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from v2s_jax.errors import InputError

Args = TypeVar("Args")
Values = Literal["none", "one", "many"]
"""How many values an option takes."""
_POSITIONAL = get_args(tyro.conf.Positional[str])[1]


def parse_args(kind: type[Args], prog: str, description: str | None) -> Args:
    """Return the arguments of a command; a nested dataclass adds options without a prefix."""
    return tyro.cli(
        kind,
        prog=prog,
        description=description,
        args=regroup(sys.argv[1:], options_of(kind)),
        config=(tyro.conf.OmitArgPrefixes,),
    )


def parse_subcommand(
    kinds: Mapping[str, type[Any]],
    prog: str,
    description: str | None,
    argv: Sequence[str] | None = None,
) -> Any:
    """Return the arguments of the subcommand that the command line names."""
    app = tyro.extras.SubcommandApp()
    for name, kind in kinds.items():
        app.command(name=name)(kind)
    args = [*(sys.argv[1:] if argv is None else argv)]
    if args and args[0] in kinds:
        args = [args[0], *regroup(args[1:], options_of(kinds[args[0]]))]
    return app.cli(args=args, prog=prog, description=description)


def options_of(kind: type[Any]) -> dict[str, Values]:
    """Return how many values each option of a dataclass takes; nested ones have no prefix."""
    options: dict[str, Values] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        markers: tuple[Any, ...] = ()
        while get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            markers += tuple(more)
        if _POSITIONAL in markers:
            continue
        flag = f"--{name.replace('_', '-')}"
        if dataclasses.is_dataclass(hint):
            options |= options_of(hint)  # type: ignore[arg-type]
        elif hint is bool:
            options[flag] = options[f"--no-{flag[2:]}"] = "none"
        else:
            is_list = get_origin(hint) is tuple and Ellipsis in get_args(hint)
            options[flag] = "many" if is_list else "one"
    return options


def regroup(argv: Sequence[str], options: Mapping[str, Values]) -> list[str]:
    """Return the arguments with each option once, followed by the positional ones.

    Raises InputError for an option that takes one value and is given twice.
    """
    given: dict[str, list[str]] = {}
    positional: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positional += rest
            break
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if not is_option(word):
            positional.append(word)
            continue
        count = options.get(flag, "none")
        values = [value] if equals else []
        if count == "one" and not equals:
            values, rest = rest[:1], rest[1:]
        while count == "many" and rest and not is_option(rest[0]):
            values.append(rest.pop(0))
        if count == "one" and flag in given:
            both = ", ".join([*given[flag], *values])
            raise InputError(f"{flag}: given twice ({both}): give it once")
        known = flag if flag in options else word
        given[known] = [*given.get(known, []), *values]
    words = []
    for flag, values in given.items():
        if options.get(flag) == "one" and len(values) == 1:
            words.append(f"{flag}={values[0]}")  # the value may begin with a dash
        else:
            words += [flag, *values]
    return [*words, "--", *positional] if positional else words


def is_option(word: str) -> bool:
    """Say whether a word is the name of an option; `-` and negative numbers are values."""
    return word.startswith("--") or (word[:1] == "-" and word[1:2].isalpha())
