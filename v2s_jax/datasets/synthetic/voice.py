"""Voices and engines: sums of harmonics, shaped by resonances.

A source of pitch f0(t) gives partials k f0(t); each passes the resonances (formants) of the tube,
which may move meanwhile. Everything is a closed function of the state, so nothing rings after the
state is at rest.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex128, Float64

HIGHEST_SHARE = 0.49  # of the sample rate: partials fade out below half the rate
FADE_SHARE = 0.6  # of the highest frequency, over which they fade: more than an octave
BLOCK_SAMPLES = 2_048  # summed at a time: few partials where the pitch is high, and all in cache


class Formant(NamedTuple):
    """One resonance; its centre may change from sample to sample."""

    centre_hz: Float64[np.ndarray, " samples"] | float
    width_hz: float
    """Width at -3 dB."""
    gain: float


def resonance(
    frequency_hz: Float64[np.ndarray, " samples"], formants: Sequence[Formant]
) -> Complex128[np.ndarray, " samples"]:
    """Return the response of parallel resonances at a frequency that may move.

    Each is gain / (1 + i (f - centre) / half width): its phase makes a pulse ring afterwards.
    """
    total = np.zeros(len(frequency_hz), np.complex128)
    for formant in formants:
        off = (frequency_hz - formant.centre_hz) * (2.0 / formant.width_hz)
        level = formant.gain / (1.0 + off * off)
        total.real += level
        total.imag -= level * off
    return total


def partials(
    turns: Float64[np.ndarray, " samples"],
    amplitudes: Iterable[Complex128[np.ndarray, " samples"] | complex | float],
) -> Float64[np.ndarray, " samples"]:
    """Sum 1, 2, 3, ... times a phase, given in turns, each with a complex amplitude.

    The parts are Im(amplitude exp(2 pi i k turns)): sines for real amplitudes.
    """
    angle = 2.0 * np.pi * turns
    cosine, sine = np.cos(angle), np.sin(angle)
    real, imaginary = cosine.copy(), sine.copy()
    total = np.zeros_like(turns)
    for amplitude in amplitudes:
        total += np.real(amplitude) * imaginary + np.imag(amplitude) * real
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    return total


def harmonics(
    turns: Float64[np.ndarray, " samples"],
    pitch_hz: Float64[np.ndarray, " samples"],
    slope: float,
    formants: Sequence[Formant],
    sample_rate_hz: int,
    highest_hz: float = math.inf,
) -> Float64[np.ndarray, " samples"]:
    """Return partials falling off as k ** -slope at the source, shaped by the formants.

    Partials fade out towards `highest_hz`, or towards half the sample rate where that is lower:
    their amplitudes with the square of the remaining distance, so that no edge is audible.
    """
    highest_hz = min(highest_hz, HIGHEST_SHARE * sample_rate_hz)
    voice = np.zeros(len(turns))
    for start in range(0, len(turns), BLOCK_SAMPLES):
        block = slice(start, start + BLOCK_SAMPLES)
        tube = [_during(formant, block) for formant in formants]
        voice[block] = _sung_block(turns[block], pitch_hz[block], slope, tube, highest_hz)
    return voice


def _sung_block(
    turns: Float64[np.ndarray, " samples"],
    pitch_hz: Float64[np.ndarray, " samples"],
    slope: float,
    formants: Sequence[Formant],
    highest_hz: float,
) -> Float64[np.ndarray, " samples"]:
    lowest_hz, top_hz = float(pitch_hz.min()), float(pitch_hz.max())
    faded_hz = FADE_SHARE * highest_hz

    def amplitude(k: int) -> Complex128[np.ndarray, " samples"]:
        frequency_hz = k * pitch_hz
        through = resonance(frequency_hz, formants)
        through *= float(k) ** -slope
        if k * top_hz > highest_hz - faded_hz:
            left = np.minimum(np.maximum((highest_hz - frequency_hz) / faded_hz, 0.0), 1.0)
            through *= left * left
        return through

    count = int(highest_hz / lowest_hz)

    return partials(turns, (amplitude(k) for k in range(1, count + 1)))


def _during(formant: Formant, block: slice) -> Formant:
    """Return a formant during some samples."""
    centre_hz = formant.centre_hz
    return formant._replace(
        centre_hz=centre_hz[block] if isinstance(centre_hz, np.ndarray) else centre_hz
    )
