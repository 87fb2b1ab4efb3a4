"""Levels of mel bands over time, in dB of full scale.

    L(band, t) = 10 log10 max(floor, P(band, t) / P of white noise of power 1 in the band)

so white noise as loud as full scale lies at 0 dB in every band, whatever the band's width. The
scale is absolute: nothing is divided by a clip's own loudest moment.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from v2s_jax.evaluation.sound_library import librosa


class MelScale(NamedTuple):
    """How a waveform is cut into bands and times."""

    bands: int
    window_sec: float
    hop_sec: float
    floor_db: float
    """What is quieter counts as silence."""


SOUND = MelScale(bands=40, window_sec=0.032, hop_sec=0.016, floor_db=-50.0)
"""What sounds are compared on; at 16 kHz each band is at least 4 bins of its spectrum wide. The
rounding error of 256 linear levels is 1/128/sqrt(12), -53 dB: a floor above it hears the same
silence in a sound before and after it was put in levels."""


def band_levels_db(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int, scale: MelScale
) -> Float32[np.ndarray, "bands times"]:
    """Return the level of each band over time, one column every `hop_sec` from sample 0 on.

    The edges are mirrored: padded with zeros, every clip would begin with an onset. A waveform
    shorter than one window is mirrored until it is as long.
    """
    window, hop = round(scale.window_sec * sample_rate_hz), round(scale.hop_sec * sample_rate_hz)
    if len(waveform) < window:
        waveform = np.pad(waveform, (0, window - len(waveform)), mode="symmetric")
    bands = _filters(sample_rate_hz, window, scale.bands)
    power = bands @ (
        np.abs(librosa().stft(waveform, n_fft=window, hop_length=hop, pad_mode="reflect")) ** 2
    )
    return librosa().power_to_db(
        power.astype(np.float32),
        amin=10.0 ** (scale.floor_db / 10.0),
        top_db=None,  # a floor under the clip's own loudest moment would not be absolute
    )


@functools.cache
def _filters(sample_rate_hz: int, window: int, bands: int) -> Float32[np.ndarray, "bands bins"]:
    """Return the weights that turn powers of bins into powers of bands, 1 for unit white noise.

    Kept, since librosa takes longer to make them than to use them.
    """
    mel = librosa().filters.mel(sr=sample_rate_hz, n_fft=window, n_mels=bands)
    window_power = np.sum(librosa().filters.get_window("hann", window) ** 2)
    weights = mel / (mel.sum(axis=1, keepdims=True) * window_power)
    return weights.astype(np.float32)
