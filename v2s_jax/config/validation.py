"""Checks of config values."""

from typing import Any, get_args

from v2s_jax.errors import InputError


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise InputError unless `value` is one of a Literal's choices."""
    known = get_args(choices)
    if value not in known:
        raise InputError(
            f"{name} is {value!r}, which this version does not know: use one of {known}"
        )


def check_minimum(config: Any, minimum: int, *names: str) -> None:
    """Raise InputError if one of these fields of `config` is below `minimum`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < minimum:
            raise InputError(f"{name} is {value}: it must be at least {minimum}")


def nearest_divisors(number: int, target: int) -> str:
    """Name the divisors of `number` just below and just above `target`."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    below = [d for d in divisors if d < target][-1:]
    above = [d for d in divisors if d > target][:1]
    return " or ".join(str(d) for d in below + above)
