"""Controls as CSV, to be edited by hand.

    time_sec,loudness,onset,dog,rain
    0.000,0.41,0.00,1,0
    0.016,0.44,0.12,1,0

One line for each part of a video frame is written. Any times are read: loudness and the weights of
categories are interpolated between the lines, and an onset belongs to the part that its time is in.
Categories that have no column have weight 0.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from v2s_jax.config import Clock
from v2s_jax.config.extractor import RESERVED_NAMES
from v2s_jax.csv_files import read_csv, write_csv
from v2s_jax.errors import InputError, reason
from v2s_jax.features.controls import CONTROLS_PER_FRAME, pack_controls, unpack_curves
from v2s_jax.types import Features

CURVES = (TIME, LOUDNESS, ONSET) = RESERVED_NAMES
TIME_DECIMALS = 6
"""Of times that are written: a microsecond, less than a sample."""
MAX_TOTAL = 1.001
"""Largest sum of the weights of categories, with rounding."""


def part_times_sec(video_frames: int, clock: Clock) -> Float[np.ndarray, " parts"]:
    """Return the start of each part of the video frames."""
    parts = np.arange(video_frames * CONTROLS_PER_FRAME)
    return parts / (float(clock.fps) * CONTROLS_PER_FRAME)


def write_controls(path: Path, controls: Features, categories: Sequence[str], clock: Clock) -> None:
    """Write controls as CSV."""
    loudness, onset, _ = unpack_curves(controls, clock)
    weights = np.repeat(controls.appearance, CONTROLS_PER_FRAME, axis=0)
    times = part_times_sec(len(controls.motion), clock)
    rows = (
        [f"{time:.{TIME_DECIMALS}f}", *(f"{float(x):.4g}" for x in (level, rise, *shares))]
        for time, level, rise, shares in zip(times, loudness, onset, weights, strict=True)
    )
    write_csv(path, [*CURVES, *categories], rows)


def read_controls(
    path: Path, categories: Sequence[str], clock: Clock, video_frames: int
) -> Features:
    """Read controls from CSV.

    Raises InputError for other columns, for values that are missing, out of range or not in order,
    and for times after the last video frame.
    """
    end_sec = float(video_frames / clock.fps)
    places, columns = _read_columns(path, categories)
    times, before = columns.pop(TIME), -math.inf
    for place, time in zip(places, times, strict=True):
        if not time > before:
            raise InputError(f"{place}: {time:g} s is not after {before:g} s: sort it")
        if not 0 <= time < end_sec:
            raise InputError(
                f"{place}: {time:g} s is outside of the sound, 0 to {end_sec:g} s: remove the line"
            )
        before = time
    at = part_times_sec(video_frames, clock)
    # The decimals of a time that was written may have been rounded down.
    parts = np.searchsorted(at, np.add(times, 10.0**-TIME_DECIMALS), side="right") - 1
    onset = np.zeros(len(at))
    np.maximum.at(onset, parts, columns.pop(ONSET))
    loudness = np.interp(at, times, columns.pop(LOUDNESS))
    weights = np.zeros((video_frames, len(categories)))
    for name, values in columns.items():
        weights[:, list(categories).index(name)] = np.interp(
            at[::CONTROLS_PER_FRAME], times, values
        )
    return pack_controls(weights, loudness, onset)


def _read_columns(
    path: Path, categories: Sequence[str]
) -> tuple[list[str], dict[str, list[float]]]:
    """Return the place of each line, and the columns."""
    header = _read_header(path)
    unknown = [name for name in header if name not in (*CURVES, *categories)]
    if unknown or not set(CURVES) <= set(header) or not set(header) & set(categories):
        raise InputError(
            f"{path}: columns {', '.join(header) or '(none)'}: use {', '.join(CURVES)} and one or "
            f"more of the model's categories ({', '.join(categories)}), separated by commas"
        )
    rows = read_csv(path, header)
    if not rows:
        raise InputError(f"{path}: has no line after its header: add one, such as 0,0.5,0,1")
    columns: dict[str, list[float]] = {name: [] for name in header}
    for place, cells in rows:
        for name, cell in zip(header, cells, strict=True):
            columns[name].append(_number(cell, name, place))
        if (total := sum(columns[name][-1] for name in header if name not in CURVES)) > MAX_TOTAL:
            raise InputError(f"{place}: the categories add up to {total:g}: use at most 1")
    return [place for place, _ in rows], columns


def _read_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as CSV ({reason(error)}): give a file of --export-controls"
        ) from error


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
