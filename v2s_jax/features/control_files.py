"""Controls as CSV, to be edited by hand.

    time_sec,loudness,onset,dog,rain
    0.000,0.41,0.00,1,0
    0.016,0.44,0.12,1,0

One line for each part of a video frame is written. Any times are read: loudness and the weights of
categories are interpolated between the lines, and an onset belongs to the part that its time is in.
Categories that have no column have weight 0.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from v2s_jax.config import Clock
from v2s_jax.errors import InputError, reason
from v2s_jax.features.controls import CONTROLS_PER_FRAME, pack_controls
from v2s_jax.io import atomic_write
from v2s_jax.types import Features

TIME, LOUDNESS, ONSET = "time_sec", "loudness", "onset"
CURVES = (TIME, LOUDNESS, ONSET)


def part_times_sec(video_frames: int, clock: Clock) -> Float[np.ndarray, " parts"]:
    """Return the start of each part of the video frames."""
    parts = np.arange(video_frames * CONTROLS_PER_FRAME)
    return parts / (float(clock.fps) * CONTROLS_PER_FRAME)


def write_controls(path: Path, controls: Features, categories: Sequence[str], clock: Clock) -> None:
    """Write controls as CSV."""
    loudness, onset = (curve.reshape(-1) for curve in np.split(controls.motion, 2, axis=1))
    weights = np.repeat(controls.appearance, CONTROLS_PER_FRAME, axis=0)
    times = part_times_sec(len(controls.motion), clock)
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CURVES, *categories])
        for row in zip(times, loudness, onset, weights, strict=True):
            numbers = (*row[:3], *row[3])
            writer.writerow([f"{float(number):.4g}" for number in numbers])


def read_controls(
    path: Path, categories: Sequence[str], clock: Clock, video_frames: int
) -> Features:
    """Read controls from CSV.

    Raises InputError for other columns, for values that are missing, out of range or not in order,
    and for times after the last video frame.
    """
    end_sec = float(video_frames / clock.fps)
    columns = _read_columns(path, categories)
    times = columns.pop(TIME)
    for line, (before, time) in enumerate(zip([-math.inf, *times], times, strict=False), 2):
        if not time > before:
            raise InputError(f"{path}: line {line}: {time:g} s is not after {before:g} s: sort it")
        if not 0 <= time < end_sec:
            raise InputError(
                f"{path}: line {line}: {time:g} s is outside of the sound, 0 to {end_sec:g} s: "
                "remove the line"
            )
    at = part_times_sec(video_frames, clock)
    onset = np.zeros(len(at))
    np.maximum.at(onset, np.searchsorted(at, times, side="right") - 1, columns.pop(ONSET))
    loudness = np.interp(at, times, columns.pop(LOUDNESS))
    weights = np.zeros((video_frames, len(categories)))
    for name, values in columns.items():
        weights[:, list(categories).index(name)] = np.interp(
            at[::CONTROLS_PER_FRAME], times, values
        )
    return pack_controls(weights, loudness, onset)


def _read_columns(path: Path, categories: Sequence[str]) -> dict[str, list[float]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({reason(error)})") from error
    header = rows[0] if rows else []
    known = [*CURVES, *categories]
    missing = [name for name in CURVES if name not in header]
    unknown = [name for name in header if name not in known]
    if missing or unknown or len(set(header)) != len(header) or not set(header) & set(categories):
        raise InputError(
            f"{path}: columns {', '.join(header) or '(none)'}: use {', '.join(CURVES)} and one or "
            f"more of the model's categories: {', '.join(categories)}"
        )
    if len(rows) == 1:
        raise InputError(f"{path}: has no line after its header: add one, such as 0,0.5,0,1")
    columns: dict[str, list[float]] = {name: [] for name in header}
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise InputError(
                f"{path}: line {line}: {len(row)} values, expected are {len(header)}: complete it"
            )
        for name, cell in zip(header, row, strict=True):
            columns[name].append(_number(cell, name, f"{path}: line {line}"))
    return columns


def _number(cell: str, name: str, place: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if name == TIME and math.isfinite(number):
        return number
    if not 0 <= number <= 1:
        raise InputError(f"{place}: {name} is {cell!r}: use a number from 0 to 1")
    return number
