"""Two known failures of long autoregressive runs: runaway noise and dead silence.

A window of sound is looked at every `WINDOW_VIDEO_FRAMES`:

    noise     its levels are nearly equally frequent, and its spectrum is nearly flat: the model
              has lost its state and draws anything
    rail      most samples lie at the ends of the range
    silence   no more than two neighbouring levels occur, `SILENT_WINDOWS` windows in a row

Loud sounds of nature are none of these: water and rain are loud but coloured, and noise that is
loud and white, but not clipped, still prefers the middle levels. A redraw goes back to the last
healthy window and on with the next seed.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from v2s_jax.config import MAX_SEED, Config
from v2s_jax.quantize import dequantize

WINDOW_VIDEO_FRAMES = 16
"""1.02 s: longer than a loud hit, short enough to be redrawn."""

NOISE_MAX_ENTROPY_GAP_BITS = 0.25
"""How far the entropy of a window's levels may lie below that of equally frequent ones. Measured
with 256 linear levels: such noise lies 0.01 bit below 8, white Gaussian noise as loud as it gets
with 0.3 % of it clipped 0.54 bit, generated water 1.9 bits or more (`tests/sampling/test_degeneracy.py`)."""

NOISE_FLATNESS = 0.5
"""Spectral flatness (geometric over arithmetic mean of the power spectrum). Measured: white noise
0.98, generated water where it is loudest 0.37, drums 0.05."""

SPECTRUM_SAMPLES = 512  # 32 ms, whose spectra are averaged over the window

RAIL_AMPLITUDE = 0.98
RAIL_FRACTION = 0.5
"""A full-scale sine spends 0.13 of its time beyond that amplitude; a stuck or ringing model all."""

SILENT_WINDOWS = 5
"""5.1 s without any sound. Measured: no window of generated drums (10 s each) is silent."""

Kind = Literal["noise", "rail", "silence"]


@dataclass(frozen=True)
class Degeneracy:
    """A stretch of sound that is no sound of anything."""

    kind: Kind
    start_sec: float
    end_sec: float
    retried: bool = False
    """Whether it was replaced by what the next seed gives."""

    def __str__(self) -> str:
        what = {"noise": "runaway noise", "rail": "stuck at full scale", "silence": "dead silence"}
        fate = ", drawn again with the next seed" if self.retried else ""
        return f"{what[self.kind]} from {self.start_sec:.1f} to {self.end_sec:.1f} s{fate}"


class DegeneracyDetector:
    """Watches one clip's levels, window after window."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.window_samples = WINDOW_VIDEO_FRAMES * config.clock.samples_per_video_frame
        self._silent = 0
        self._ok = True
        self._samples = 0

    @property
    def ok(self) -> bool:
        """Whether the last window was neither at fault nor silent."""
        return self._ok

    @property
    def seen(self) -> int:
        """Samples of the clip up to which the guard has looked, or need not look."""
        return self._samples

    def update(self, levels: UInt8[np.ndarray, " samples"]) -> Degeneracy | None:
        """Return what is wrong with the next window; a last one may be shorter."""
        start = self._samples
        self._samples += len(levels)
        kind = _kind(levels, self._config)
        self._silent = self._silent + 1 if kind == "silence" else 0
        self._ok = kind is None
        if kind is None or (kind == "silence" and self._silent < SILENT_WINDOWS):
            return None
        if kind == "silence":
            start = max(0, self._samples - self._silent * self.window_samples)
        rate_hz = self._config.clock.sample_rate_hz
        return Degeneracy(kind, start / rate_hz, self._samples / rate_hz)

    def reset(self, samples: int) -> None:
        """Go on anew from there, as after a healthy window."""
        self._samples, self._silent = samples, 0


def find_degeneracies(levels: UInt8[np.ndarray, " samples"], config: Config) -> list[Degeneracy]:
    """Return the faults of a whole clip; neighbours of one kind are one."""
    detector, degeneracies = DegeneracyDetector(config), list[Degeneracy]()
    for start in range(0, len(levels), detector.window_samples):
        degeneracy = detector.update(levels[start : start + detector.window_samples])
        if degeneracy is not None:
            merge_degeneracy(degeneracies, degeneracy)
    return degeneracies


def merge_degeneracy(degeneracies: list[Degeneracy], degeneracy: Degeneracy) -> None:
    """Append a fault, or let the last one of its kind last until this one's end."""
    last = degeneracies[-1] if degeneracies else None
    same = last and last.kind == degeneracy.kind and not (last.retried or degeneracy.retried)
    if last and same and last.end_sec >= degeneracy.start_sec:
        degeneracies[-1] = dataclasses.replace(last, end_sec=degeneracy.end_sec)
    else:
        degeneracies.append(degeneracy)


def next_seed(key: np.ndarray) -> np.ndarray:
    """Return a clip's key under the next seed; after the last one comes 0."""
    return np.array([(int(key[0]) + 1) & MAX_SEED, key[1]], np.uint32)


def _kind(levels: UInt8[np.ndarray, " samples"], config: Config) -> Kind | None:
    model = config.model
    if len(levels) < SPECTRUM_SAMPLES:
        return None
    waveform = dequantize(levels, model.q_levels, model.quantization)
    if np.mean(np.abs(waveform) >= RAIL_AMPLITUDE) >= RAIL_FRACTION:
        return "rail"
    if int(levels.max()) - int(levels.min()) <= 1:
        return "silence"
    bits = _entropy_bits(levels, model.q_levels)
    if bits >= np.log2(model.q_levels) - NOISE_MAX_ENTROPY_GAP_BITS:
        return "noise" if _flatness(waveform) >= NOISE_FLATNESS else None
    return None


def _entropy_bits(levels: UInt8[np.ndarray, " samples"], q_levels: int) -> float:
    share = np.bincount(levels, minlength=q_levels) / len(levels)
    share = share[share > 0]
    return float(-np.sum(share * np.log2(share)))


def _flatness(waveform: np.ndarray) -> float:
    """Return the flatness of the spectrum averaged over the window, without its ends."""
    whole = waveform[: len(waveform) // SPECTRUM_SAMPLES * SPECTRUM_SAMPLES]
    frames = whole.reshape(-1, SPECTRUM_SAMPLES) * np.hanning(SPECTRUM_SAMPLES)
    power = np.mean(np.abs(np.fft.rfft(frames)) ** 2, axis=0)[1:-1]
    return float(np.exp(np.mean(np.log(power + np.finfo(float).tiny))) / np.mean(power))
