"""Levels of mel bands over time, in dB of full scale; and librosa, loaded on demand.

    L(band, t) = 10 log10 max(floor, P(band, t) / P of white noise of power 1 in the band)

so white noise at full scale is 0 dB in every band, whatever the band's width. The scale is
absolute: nothing is divided by a clip's own loudest moment.
"""

import contextlib
import fcntl
import functools
import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from v2s_jax.evaluation.statistics import Waveform


class MelScale(NamedTuple):
    """How a waveform is cut into bands and times."""

    bands: int
    window_sec: float
    hop_sec: float
    floor_db: float
    """What is quieter counts as silence."""


AUDIO_SCALE = MelScale(bands=40, window_sec=0.032, hop_sec=0.016, floor_db=-50.0)
"""Scale for comparing audio; at 16 kHz each band is at least 4 spectrum bins wide. The rounding
error of 256 linear levels is 1/128/sqrt(12), -53 dB: a floor above it finds the same silence before
and after quantization."""


@functools.cache
def librosa() -> ModuleType:
    """Import librosa while holding a file lock.

    On import, numba compiles some of librosa's functions and caches them beside its sources. Two
    processes that do so at once, as in a new environment, can corrupt that cache for all later
    ones. `librosa.onset` brings in everything that is used here, so nothing is compiled later.
    """
    library = importlib.import_module("librosa")  # lazy: its submodules load on first use
    handle = os.open(Path(library.__path__[0]), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        importlib.import_module("librosa.onset")
    finally:
        os.close(handle)
    return library


def band_levels_db(
    waveform: Waveform, sample_rate_hz: int, scale: MelScale
) -> Float32[np.ndarray, "bands times"]:
    """Return the level of each band over time, one column every `hop_sec` from sample 0 on.

    The edges are mirrored: zero padding would give every clip an onset at its start. A waveform
    shorter than one window is mirrored up to that length.
    """
    window, hop = round(scale.window_sec * sample_rate_hz), round(scale.hop_sec * sample_rate_hz)
    if len(waveform) < window:
        waveform = np.pad(waveform, (0, window - len(waveform)), mode="symmetric")
    bands = _filters(sample_rate_hz, window, scale.bands)
    spectrum = librosa().stft(waveform, n_fft=window, hop_length=hop, pad_mode="reflect")
    power = bands @ (np.abs(spectrum) ** 2)
    return librosa().power_to_db(
        power.astype(np.float32),
        amin=10.0 ** (scale.floor_db / 10.0),
        top_db=None,  # a floor relative to the clip's own loudest moment would not be absolute
    )


@functools.cache
def _filters(sample_rate_hz: int, window: int, bands: int) -> Float32[np.ndarray, "bands bins"]:
    """Return weights from bin powers to band powers, 1 for unit white noise.

    Cached, since librosa takes longer to make them than to apply them.
    """
    mel = librosa().filters.mel(sr=sample_rate_hz, n_fft=window, n_mels=bands)
    window_power = np.sum(librosa().filters.get_window("hann", window) ** 2)
    weights = mel / (mel.sum(axis=1, keepdims=True) * window_power)
    return weights.astype(np.float32)
