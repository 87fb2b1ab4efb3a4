"""Scores of sounds in the cells of tables, and under them why some are missing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = "-"


def format_value(found: Mapping[str, Any], digits: int, scale: float = 1.0) -> str:
    """Return an estimate alone."""
    return MISSING if found["value"] is None else f"{scale * found['value']:.{digits}f}"


def format_estimate(
    found: Mapping[str, Any], digits: int, scale: float = 1.0, signed: str = ""
) -> str:
    """Return an estimate with its interval, if it has one."""
    shape = f"{signed}.{digits}f"
    ends = [found["value"], found["low"], found["high"]]
    own, low, high = (None if end is None else f"{scale * end:{shape}}" for end in ends)
    if own is None:
        return MISSING
    return own if low is None else f"{own} [{low}, {high}]"


def missing_reason(estimates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say once each why numbers or intervals are not there."""
    return missing_notes(found["reason"] for found in estimates)


def missing_notes(reasons: Iterable[str | None]) -> list[str]:
    """Say once each why there is no number, or no interval; None where there is one."""
    return [f"without an interval: {reason}" for reason in dict.fromkeys(reasons) if reason]
