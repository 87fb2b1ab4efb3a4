"""Sounds that categories share: shaped noise, background noise, 16-bit rounding.

For the entropy floor (`floor.py`), each sample of a clip is split in two:

    sound_t = known_t + fresh_t,     fresh_t ~ Normal(0, fresh_variance_t), new at t

`known_t` follows from the state and from all draws for earlier samples. Noise through a causal
filter, y_t = h_0 e_t + h_1 e_(t-1) + ..., splits naturally: h_0 e_t is new, the rest past. A gain
that follows from the state scales both.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64
from scipy import signal

from v2s_jax.datasets.synthetic.randomness import Rng
from v2s_jax.datasets.synthetic.voice import Formant

BACKGROUND_SIGMA = 1 / 1024
"""Standard deviation of the Gaussian noise under every clip, -60 dB of full scale.

An eighth of a step of 256 linear levels: 32 steps of the 16-bit file, but in silence the model
sees one level. At half a step the noise alone costs 1.4 bits per sample, and a small model learns
only that for thousands of updates before it uses the video.
"""

SPEED_OF_SOUND_M_SEC = 343.0
"""In air at 20 degrees Celsius: 331.3 m/s sqrt(293.15 / 273.15) (Kinsler et al., Fundamentals of
Acoustics)."""

KNOCK_DECAYS = 8.0  # length of a knock in decay times of its first part: -69 dB at its end
_FULL_SCALE = 32_768  # of 16-bit sound
_WARM_UP_SEC = 0.1  # filters start this early: ten decay times of a corner at 20 Hz
_HIGHEST_CORNER = 0.45  # of the sample rate; higher corners are left out
_POWER_POINTS = 8_192  # frequencies over which a filter's power is averaged


class Texture(NamedTuple):
    """Gaussian noise, and the part of each sample that is new."""

    values: Float64[np.ndarray, " samples"]
    fresh: Float64[np.ndarray, " samples"]
    """The part of `values` drawn at the sample itself."""
    fresh_std: float
    """Its standard deviation."""


class Track:
    """A clip's sound, without the background noise."""

    def __init__(self, samples: int) -> None:
        self.known = np.zeros(samples)
        """What an oracle knows before each sample, given the state and the exact past."""
        self.fresh = np.zeros(samples)
        """Gaussian and new at each sample."""
        self.fresh_variance = np.zeros(samples)

    @property
    def sound(self) -> Float64[np.ndarray, " samples"]:
        """The whole sound."""
        return self.known + self.fresh

    def add(self, start: int, part: Float64[np.ndarray, " part"]) -> None:
        """Add a sound that the oracle knows, from sample `start` on, cut to the track."""
        add_at(self.known, start, part)

    def add_texture(
        self,
        texture: Texture,
        gain: Float64[np.ndarray, " part"] | float = 1.0,
        start: int = 0,
    ) -> None:
        """Add noise, drawn for this call only, times a gain that follows from the state."""
        add_at(self.known, start, gain * (texture.values - texture.fresh))
        add_at(self.fresh, start, gain * texture.fresh)
        variance = np.broadcast_to((gain * texture.fresh_std) ** 2, texture.values.shape)
        add_at(self.fresh_variance, start, variance)

    def scaled(self, gain: Float64[np.ndarray, " samples"]) -> "Track":
        """Return the track times a gain that follows from the state."""
        return Track.of(gain * self.known, gain * self.fresh, gain**2 * self.fresh_variance)

    def delayed(self, by: int) -> "Track":
        """Return the track delayed by this many samples, after silence."""
        parts = (self.known, self.fresh, self.fresh_variance)
        samples = len(self.known)
        return Track.of(*(np.concatenate([np.zeros(by), part])[:samples] for part in parts))

    @classmethod
    def of(cls, known: np.ndarray, fresh: np.ndarray, fresh_variance: np.ndarray) -> "Track":
        """Return a track of these parts."""
        track = cls(0)
        track.known, track.fresh, track.fresh_variance = known, fresh, fresh_variance
        return track


def filtered_noise(
    rng: Rng, samples: int, low_hz: float, high_hz: float, sample_rate_hz: int
) -> Texture:
    """Return stationary noise of RMS 1 between two corners, 12 dB per octave outside.

    Butterworth filters of order 2; corners near half the sample rate or above are left out.
    """
    highest_hz = _HIGHEST_CORNER * sample_rate_hz
    sections = [signal.butter(2, min(low_hz, highest_hz), "highpass", False, "sos", sample_rate_hz)]
    if high_hz < highest_hz:
        sections.append(signal.butter(2, high_hz, "lowpass", False, "sos", sample_rate_hz))
    return _filtered(rng, samples, np.concatenate(sections), sample_rate_hz)


def _filtered(
    rng: Rng, samples: int, sections: Float64[np.ndarray, "sections 6"], sample_rate_hz: int
) -> Texture:
    """Run white noise through second-order sections, scaled to RMS 1."""
    _, response = signal.sosfreqz(sections, _POWER_POINTS)
    scale = 1.0 / np.sqrt(np.mean(np.abs(response) ** 2))
    before = round(_WARM_UP_SEC * sample_rate_hz)
    white = scale * rng.normals(before + samples)
    newest = float(np.prod(sections[:, 0]))
    return Texture(
        signal.sosfilt(sections, white)[before:], newest * white[before:], scale * newest
    )


def resonant_noise(
    rng: Rng, samples: int, formants: Sequence[Formant], sample_rate_hz: int
) -> Texture:
    """Return stationary noise of RMS 1 through parallel resonances that stand still.

    Each is gain (1 - r^2) / 2 (1 - z^-2) / (1 - 2 r cos(w) z^-1 + r^2 z^-2) with its centre at the
    angle w; r follows from its width. Centres near half the sample rate or above are left out.
    """
    before = round(_WARM_UP_SEC * sample_rate_hz)
    white = rng.normals(before + samples)
    sound, newest = np.zeros(before + samples), 0.0
    response = np.zeros(_POWER_POINTS, np.complex128)
    for formant in formants:
        if formant.centre_hz < _HIGHEST_CORNER * sample_rate_hz:
            radius = math.exp(-math.pi * formant.width_hz / sample_rate_hz)
            turn = 2.0 * math.pi * formant.centre_hz / sample_rate_hz
            first = 0.5 * formant.gain * (1.0 - radius**2)
            forward = np.array([first, 0.0, -first])
            back = np.array([1.0, -2.0 * radius * math.cos(turn), radius**2])
            sound += signal.lfilter(forward, back, white)
            response += signal.freqz(forward, back, _POWER_POINTS)[1]
            newest += first
    scale = 1.0 / np.sqrt(np.mean(np.abs(response) ** 2))
    return Texture(scale * sound[before:], scale * newest * white[before:], scale * newest)


def band_noise(
    rng: Rng, samples: int, low_hz: float, high_hz: float, sample_rate_hz: int
) -> Float64[np.ndarray, " samples"]:
    """Return Gaussian noise of RMS 1 (on average) between two corners, 12 dB per octave outside."""
    spectrum = np.fft.rfft(rng.normals(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1.0 / sample_rate_hz)
    gain = np.zeros_like(frequency_hz)
    above_dc = frequency_hz[1:]
    gain[1:] = 1.0 / np.sqrt((1.0 + (low_hz / above_dc) ** 4) * (1.0 + (above_dc / high_hz) ** 4))
    gain /= np.sqrt(np.mean(gain**2))
    return np.fft.irfft(gain * spectrum, samples)


def add_at(
    track: Float64[np.ndarray, " samples"], start: int, part: Float64[np.ndarray, " part"]
) -> None:
    """Add a sound to a track from sample `start` on, in place, cut to the track."""
    first, last = max(start, 0), min(start + len(part), len(track))
    if first < last:
        track[first:last] += part[first - start : last - start]


def knock(
    part_hz: Float64[np.ndarray, " parts"],
    amplitude: Float64[np.ndarray, " parts"],
    decay_sec: float,
    sample_rate_hz: int,
) -> Float64[np.ndarray, " samples"]:
    """Return the knock of a hard object, peaking near 1.

    `decay_sec` is the first part's decay time; the others decay faster by their ratio.
    Parts from half the sample rate on are left out.
    """
    time_sec = np.arange(round(decay_sec * KNOCK_DECAYS * sample_rate_hz))[:, None] / sample_rate_hz
    amplitude = np.where(part_hz < 0.5 * sample_rate_hz, amplitude, 0.0)
    decay = np.exp(-time_sec * (part_hz / part_hz[0]) / decay_sec)
    parts = amplitude * decay * np.cos(2.0 * np.pi * part_hz * time_sec)
    return parts.sum(axis=1) / amplitude.sum()


def add_background(
    sound: Float64[np.ndarray, " samples"], rng: Rng
) -> Float32[np.ndarray, " samples"]:
    """Add the background noise and round to multiples of 1/32768."""
    noisy = sound + BACKGROUND_SIGMA * rng.normals(len(sound))
    steps = np.clip(np.rint(noisy * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return (steps / _FULL_SCALE).astype(np.float32)
