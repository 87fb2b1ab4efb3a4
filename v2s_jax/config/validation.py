"""Checks of config values, which may come from outside: a command line or a checkpoint."""

import math
import reprlib
from functools import lru_cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from v2s_jax.errors import InputError, reason

T = TypeVar("T")

MAX_INT = 2**53
"""Largest whole number that every JSON reader keeps exactly; fields have lower bounds."""
MAX_ITEMS = 10_000
"""Longest list of a field: quantiles of some hundred categories."""
MAX_TEXT_CHARS = 4_096
"""Longest text of a field: Linux's limit for paths (PATH_MAX)."""

KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
"""Types of fields as messages name them."""


def from_fields(config_type: type[T], fields: object, section: str) -> T:
    """Return the dataclass with these fields, which were parsed from JSON.

    Raises InputError for unknown or missing fields and values that do not fit.
    """
    if not isinstance(fields, dict):
        raise InputError(f"{section} is {reprlib.repr(fields)}: it must have named fields")
    kind: type = config_type  # mypy takes type[T] for unhashable
    known = _field_types(kind)
    if unknown := [name for name in fields if name not in known]:
        raise InputError(
            f"{section} has the field {reprlib.repr(unknown[0])}, which this version does not know"
        )
    fields = {name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()}
    _check_values(config_type, fields, section)
    try:
        return config_type(**fields)
    except TypeError as error:
        raise InputError(f"{section} lacks a field ({reason(error)})") from error


def check_types(config: Any, section: str) -> None:
    """Raise InputError unless every field of a dataclass has a value of its annotated type.

    Numbers must be finite, whole numbers at most MAX_INT, and true is not a number. `section` names
    the dataclass in messages.
    """
    _check_values(type(config), vars(config), section)


def _check_values(config_type: type, values: dict[str, Any], section: str) -> None:
    hints = _field_types(config_type)
    for name, value in values.items():
        if problem := _type_problem(value, hints[name]):
            raise InputError(f"{section}.{name} is {reprlib.repr(value)}{problem}")


@lru_cache
def _field_types(config_type: type) -> dict[str, Any]:
    return get_type_hints(config_type)


def _type_problem(value: object, hint: Any) -> str | None:
    """Say what is wrong with a value, as the rest of a sentence."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if isinstance(value, str) and value in choices:
            return None
        return f", which this version does not know: use one of {choices}"
    if NoneType in get_args(hint):
        (kind,) = (each for each in get_args(hint) if each is not NoneType)
        return None if value is None else _type_problem(value, kind)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or len(value) > MAX_ITEMS:
            return f": it must be a list of at most {MAX_ITEMS} values"
        kind = get_args(hint)[0]
        return next((problem for each in value if (problem := _type_problem(each, kind))), None)
    is_wrong = isinstance(value, bool) and hint is not bool
    if is_wrong or not isinstance(value, (int, float) if hint is float else hint):
        return f": it must be {KINDS.get(hint, 'a section')}"
    if isinstance(value, int) and abs(value) > MAX_INT:
        return f": it must be at most {MAX_INT}"
    if isinstance(value, float) and not math.isfinite(value):
        return ": it must be a finite number"
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        return f": it has {len(value)} characters: use at most {MAX_TEXT_CHARS}"
    if isinstance(value, str) and not value.isprintable():
        return ": it must be printable characters"
    return None


def check_range(config: Any, minimum: int, maximum: int, *names: str) -> None:
    """Raise InputError if one of these fields of `config` is out of range; None is not."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if value < minimum:
            raise InputError(f"{name} is {value}: it must be at least {minimum}")
        if value > maximum:
            raise InputError(f"{name} is {value}: it must be at most {maximum}")


def nearest_divisors(number: int, target: int) -> str:
    """Name the divisors of `number` just below and just above `target`."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    below = [d for d in divisors if d < target][-1:]
    above = [d for d in divisors if d > target][:1]
    return " or ".join(str(d) for d in below + above)
