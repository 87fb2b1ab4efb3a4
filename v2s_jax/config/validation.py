"""What is said of values that do not fit."""

from typing import get_args

from v2s_jax.errors import InputError


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise InputError unless `value` is one of a Literal's choices."""
    known = get_args(choices)
    if value not in known:
        raise InputError(
            f"{name} is {value!r}, which this version does not know: use one of {known}"
        )


def nearest_divisors(of: int, wanted: int) -> str:
    """Name the divisors of `of` just below and just above `wanted`."""
    divisors = [d for d in range(1, of + 1) if of % d == 0]
    below = [d for d in divisors if d < wanted][-1:]
    above = [d for d in divisors if d > wanted][:1]
    return " or ".join(str(d) for d in below + above)
