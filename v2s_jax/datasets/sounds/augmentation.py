"""Vary a recording: speed (and pitch with it), equalisation, gain."""

import numpy as np
from jaxtyping import Float32
from scipy.signal import resample

MAX_SPEED_CHANGE = 0.1
"""Speed is drawn between 1 / (1 + this) and 1 + this, evenly in octaves."""
EQUALISER_DB = 3.0
"""Standard deviation of the gain at each of EQUALISER_POINTS, which are an octave or two apart."""
EQUALISER_POINTS = 6
LOWEST_HZ = 60.0
MAX_GAIN_DB = 6.0
"""Gain is drawn from minus this to 0: the recording is as loud as it may be already."""


def augment(
    waveform: Float32[np.ndarray, " samples"], sample_rate_hz: int, seed: int
) -> Float32[np.ndarray, " samples2"]:
    """Return a variation; the same seed gives the same one."""
    random = np.random.default_rng(seed)
    octaves = np.log2(1 + MAX_SPEED_CHANGE)
    speed = 2 ** random.uniform(-octaves, octaves)
    waveform = resample(waveform, max(1, round(len(waveform) / speed)))
    spectrum = np.fft.rfft(waveform)
    hz = np.fft.rfftfreq(len(waveform), 1 / sample_rate_hz)
    points_hz = np.geomspace(LOWEST_HZ, sample_rate_hz / 2, EQUALISER_POINTS)
    gains_db = random.normal(0, EQUALISER_DB, EQUALISER_POINTS)
    curve_db = np.interp(np.log(np.maximum(hz, LOWEST_HZ)), np.log(points_hz), gains_db)
    equalised = np.fft.irfft(spectrum * 10 ** (curve_db / 20), len(waveform))
    peak = np.abs(equalised).max() / max(np.abs(waveform).max(), np.finfo(np.float32).tiny)
    gain = 10 ** (random.uniform(-MAX_GAIN_DB, 0) / 20) / max(1.0, peak)
    return (equalised * gain).astype(np.float32)
