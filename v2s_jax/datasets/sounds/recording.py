"""Clean a recording and cut it into clips.

trim        silence at both ends goes, longer silence inside is shortened to MAX_SILENCE_SEC
normalise   loud parts get REFERENCE_DBFS, less where a peak would clip
cut         clips of equal length; controls are relative to the whole recording
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from v2s_jax.config import Clock
from v2s_jax.errors import InputError
from v2s_jax.features.controls import (
    CONTROLS_PER_FRAME,
    REFERENCE_PERCENTILE,
    control_curves,
    pack_controls,
    part_levels_db,
)
from v2s_jax.media import read_audio_file
from v2s_jax.types import Features

SILENCE_DB = -45.0
"""Parts so far below the recording's loud ones are silent: a dog's echo ends about there."""
EDGE_SEC = 0.05
"""Silence that is kept before the first and after the last sound."""
MAX_SILENCE_SEC = 0.5
"""Silence that is kept between two sounds."""
REFERENCE_DBFS = -16.0
"""Level of loud parts after normalisation, dB of full scale (RMS)."""
MAX_PEAK = 0.95
MIN_LEVEL_DBFS = -75.0
"""A recording whose loud parts are quieter is silent: 16-bit noise is at about -96."""


@dataclass(frozen=True)
class ClipLength:
    """How long clips are."""

    video_frames: int
    min_sec: float


def read_recording(path: Path, clock: Clock, min_sec: float) -> Float32[np.ndarray, " samples"]:
    """Decode, trim and normalise a recording.

    Raises InputError when it cannot be decoded, is silent, or is shorter than `min_sec`.
    """
    waveform = read_audio_file(path, clock.sample_rate_hz)
    waveform = waveform - np.mean(waveform, dtype=np.float64).astype(np.float32)
    levels = part_levels_db(waveform, clock)
    reference_db = float(np.percentile(levels, REFERENCE_PERCENTILE))
    loudest_db = float(levels.max())
    if loudest_db < MIN_LEVEL_DBFS:
        raise InputError(f"{path}: is silent ({loudest_db:.0f} dB of full scale): leave it out")
    # A short sound in a long silence has no loud percentile: its loudest part counts then.
    reference_db = max(reference_db, loudest_db + SILENCE_DB / 2)
    part = clock.samples_per_video_frame // CONTROLS_PER_FRAME
    kept = _kept_parts(levels >= reference_db + SILENCE_DB, part / clock.sample_rate_hz)
    waveform = waveform[np.repeat(kept, part)[: len(waveform)]]
    if len(waveform) < min_sec * clock.sample_rate_hz:
        raise InputError(
            f"{path}: {len(waveform) / clock.sample_rate_hz:.2f} s of sound, less than "
            f"{min_sec:g}: give a longer recording, or lower --min-sec"
        )
    gain = min(10 ** ((REFERENCE_DBFS - reference_db) / 20), MAX_PEAK / np.abs(waveform).max())
    return waveform * np.float32(gain)


def _kept_parts(
    is_sound: Bool[np.ndarray, " parts"], part_sec: float
) -> Bool[np.ndarray, " parts"]:
    """Return the parts that remain after silence is shortened."""
    sounds = np.flatnonzero(is_sound)
    edge, longest = round(EDGE_SEC / part_sec), round(MAX_SILENCE_SEC / part_sec)
    kept = np.zeros(len(is_sound), bool)
    kept[max(0, sounds[0] - edge) : sounds[-1] + 1 + edge] = True
    for before, after in pairwise(sounds):
        if after - before - 1 > longest:  # the start of the silence has the echo
            kept[before + 1 + longest : after] = False
    return kept


def cut(
    waveform: Float32[np.ndarray, " recording_samples"],
    clock: Clock,
    length: ClipLength,
    weights: Float32[np.ndarray, " categories"],
) -> list[tuple[Float32[np.ndarray, " _"], Features]]:
    """Cut a recording into clips with their controls; a short rest is dropped."""
    loudness, onset = control_curves(waveform, clock)
    size, clips = length.video_frames * clock.samples_per_video_frame, []
    for start in range(0, len(waveform), size):
        piece = waveform[start : start + size]
        if start and len(piece) < length.min_sec * clock.sample_rate_hz:
            break
        first = start // clock.samples_per_video_frame
        frames = clock.video_frames(len(piece))
        parts = slice(first * CONTROLS_PER_FRAME, (first + frames) * CONTROLS_PER_FRAME)
        categories = np.repeat(weights[None], frames, axis=0)
        clips.append((piece, pack_controls(categories, loudness[parts], onset[parts])))
    return clips
