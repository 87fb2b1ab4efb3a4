"""Sounds that categories share: shaped noise, background noise, the 16-bit grid."""

import numpy as np
from jaxtyping import Float32, Float64

from data.synthetic.randomness import Draws

BACKGROUND_SIGMA = 1 / 1024
"""Standard deviation of the Gaussian noise under every clip, -60 dB of full scale.

An eighth of a step of 256 linear levels: 32 steps of the 16-bit file, but in silence the model
sees one level. At half a step the noise alone costs 1.4 bits per sample, and a small model spends
its first thousands of updates on it before it looks at the picture.
"""

_FULL_SCALE = 32_768  # of 16-bit sound


def band_noise(
    draws: Draws, samples: int, low_hz: float, high_hz: float, sample_rate_hz: int
) -> Float64[np.ndarray, "samples"]:
    """Return Gaussian noise of RMS 1 (on average) between two corners, 12 dB per octave outside."""
    spectrum = np.fft.rfft(draws.normals(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1.0 / sample_rate_hz)
    gain = np.zeros_like(frequency_hz)
    above_dc = frequency_hz[1:]
    gain[1:] = 1.0 / np.sqrt((1.0 + (low_hz / above_dc) ** 4) * (1.0 + (above_dc / high_hz) ** 4))
    gain /= np.sqrt(np.mean(gain**2))
    return np.fft.irfft(gain * spectrum, samples)


def add_at(
    track: Float64[np.ndarray, "samples"], start: int, part: Float64[np.ndarray, "part"]
) -> None:
    """Add a sound to a track from sample `start` on, in place; what sticks out is dropped."""
    first, last = max(start, 0), min(start + len(part), len(track))
    if first < last:
        track[first:last] += part[first - start : last - start]


def finished(sound: Float64[np.ndarray, "samples"], draws: Draws) -> Float32[np.ndarray, "samples"]:
    """Add the background noise and round to multiples of 1/32768."""
    noisy = sound + BACKGROUND_SIGMA * draws.normals(len(sound))
    steps = np.clip(np.rint(noisy * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return (steps / _FULL_SCALE).astype(np.float32)
